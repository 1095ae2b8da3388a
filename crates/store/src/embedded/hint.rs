//! What a person can do about a store that does not work.

use std::{io::ErrorKind, path::Path};

use gust_core::ports::StoreError;

/// A failed access to the file, of whatever kind redb reports it as.
pub(super) fn store_error(act: &'static str, path: &Path, cause: redb::Error) -> StoreError {
    StoreError {
        act,
        hint: hint(path, &cause),
        source: Some(Box::new(cause)),
    }
}

/// What to do about it.
pub(super) fn hint(path: &Path, cause: &redb::Error) -> String {
    let file = path.display();
    match cause {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => format!(
            "another process uses {file}; is a second gust running with the same data directory? \
             (several replicas need etcd)"
        ),
        redb::Error::UpgradeRequired(_) => {
            format!("{file} is of an older database format; open it with the gust that wrote it")
        }
        redb::Error::Corrupted(_) => damaged(path),
        redb::Error::Io(io) => match io.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("free space for {file}; nothing is lost, gust tries again")
            }
            ErrorKind::FileTooLarge => format!("{file} has reached a size limit; raise it, gust tries again"),
            ErrorKind::NotFound => format!("the directory of {file} does not exist; create it"),
            ErrorKind::PermissionDenied => format!("gust must be able to read and write {file}"),
            ErrorKind::ReadOnlyFilesystem => format!("{file} is on a read-only file system; remount it"),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => damaged(path),
            _ => format!("look at the disk that holds {file}"),
        },
        redb::Error::PreviousIo => format!("look at the disk that holds {file}; gust opens the file again"),
        _ => format!("look at {file}"),
    }
}

fn damaged(path: &Path) -> String {
    format!(
        "{} is damaged, or no store of gust; restore it from a backup, or move it away to begin anew \
         (machines without a record are then found and deleted, and jobs are booked again)",
        path.display()
    )
}
