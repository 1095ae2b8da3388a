//! What a configuration may refer to outside its own file: environment variables, other files, the host.

use std::{io, path::Path};

/// The world around a configuration file. A trait, so that tests bring their own.
pub trait Surroundings {
    /// The value of an environment variable, where it is set and is text.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The text of a file that holds no secret, for those who read no others.
    ///
    /// # Errors
    /// What the system says.
    fn read_data(&self, path: &Path) -> io::Result<String> {
        self.read(path)
    }

    /// A name for this process that no other running one has: host and process id.
    fn process_name(&self) -> String;
}

/// The real world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

impl Surroundings for Host {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn process_name(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host
            .trim()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
            .take(40)
            .collect();
        let host = if host.is_empty() { "host" } else { &host };
        format!("{host}-{}", std::process::id())
    }
}
