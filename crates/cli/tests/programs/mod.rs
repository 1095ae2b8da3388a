//! The programs that the demo needs.

use std::path::{Path, PathBuf};

/// The program under test.
pub const GUST: &str = env!("CARGO_BIN_EXE_gust");

/// The stand-in agent, if everything the demo needs is built. The test command builds it all and sets
/// `GUST_TEST_STRICT`; a test of this package alone may lack the rest.
pub fn stand_in() -> Option<PathBuf> {
    let beside = Path::new(GUST).parent().expect("a directory");
    let programs = ["gust-fakes", "gust-guest", "gust-agent-standin"].map(|name| beside.join(name));
    if programs.iter().all(|program| program.is_file()) {
        return Some(programs[2].clone());
    }
    assert!(
        std::env::var_os("GUST_TEST_STRICT").is_none(),
        "the demo's programs are not built: cargo build --workspace --bins"
    );
    eprintln!("SKIPPED: the demo's programs are not built (cargo build --workspace --bins)");
    None
}
