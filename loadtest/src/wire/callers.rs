//! Whose processes hold the other ends of connections, as the kernel tells.

use std::{collections::BTreeMap, net::SocketAddr};

use procfs::process::{FDTarget, Process};

use super::network::Party;

/// The connections of parties, each by the two ends as who dialled sees them: its own, and the one it dialled.
pub(super) type Connections = BTreeMap<(SocketAddr, SocketAddr), Party>;

/// Reads all connections of these processes and their children.
pub(super) fn read(parties: &BTreeMap<u32, Party>) -> Connections {
    let sockets: BTreeMap<u64, Party> = parties
        .iter()
        .flat_map(|(process, party)| family(*process).map(|process| (process, *party)))
        .flat_map(|(process, party)| sockets(process).map(move |socket| (socket, party)))
        .collect();
    let entries = procfs::net::tcp().unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| {
            let party = sockets.get(&entry.inode)?;
            Some(((entry.local_address, entry.remote_address), *party))
        })
        .collect()
}

/// A process and its children.
fn family(process: u32) -> impl Iterator<Item = u32> {
    let children = i32::try_from(process).ok().and_then(|id| {
        let main = Process::new(id).ok()?.task_main_thread().ok()?;
        main.children().ok()
    });
    std::iter::once(process).chain(children.unwrap_or_default())
}

/// The sockets that a process holds.
fn sockets(process: u32) -> impl Iterator<Item = u64> {
    let held = i32::try_from(process)
        .ok()
        .and_then(|id| Process::new(id).ok()?.fd().ok());
    held.into_iter()
        .flatten()
        .flatten()
        .filter_map(|held| match held.target {
            FDTarget::Socket(socket) => Some(socket),
            _ => None,
        })
}
