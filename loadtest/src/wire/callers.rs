//! Whose process holds the other end of a connection, as the kernel tells.

use std::{collections::BTreeMap, net::SocketAddr};

use procfs::process::{FDTarget, Process};
use tokio::net::TcpStream;

use super::network::Party;

/// The party that dialled, among processes and their children. Nothing if it has hung up, or is none of these.
pub(super) fn of(accepted: &TcpStream, parties: &BTreeMap<u32, Party>) -> Option<Party> {
    let inode = inode(accepted.peer_addr().ok()?, accepted.local_addr().ok()?)?;
    parties
        .iter()
        .find(|(process, _)| family(**process).any(|process| holds(process, inode)))
        .map(|(_, party)| *party)
}

/// The socket at the other end.
fn inode(theirs: SocketAddr, ours: SocketAddr) -> Option<u64> {
    procfs::net::tcp()
        .ok()?
        .into_iter()
        .find(|entry| entry.local_address == theirs && entry.remote_address == ours)
        .map(|entry| entry.inode)
}

/// A process and its children.
fn family(process: u32) -> impl Iterator<Item = u32> {
    let children = i32::try_from(process).ok().and_then(|id| {
        let main = Process::new(id).ok()?.task_main_thread().ok()?;
        main.children().ok()
    });
    std::iter::once(process).chain(children.unwrap_or_default())
}

fn holds(process: u32, inode: u64) -> bool {
    let held = i32::try_from(process)
        .ok()
        .and_then(|id| Process::new(id).ok()?.fd().ok());
    held.into_iter()
        .flatten()
        .flatten()
        .any(|held| matches!(held.target, FDTarget::Socket(found) if found == inode))
}
