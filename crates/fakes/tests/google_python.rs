//! Google's own Python client judges the fake GCE: `tests/python/gce_client.py` in the root of the repository.
//!
//! Needs a Python with `tests/python/requirements.txt` installed, named by `GUST_TEST_PYTHON`, or at `.venv` in
//! the root, where the test command makes it. Where there is neither, the test says so and proves nothing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn python(root: &Path) -> Option<PathBuf> {
    match std::env::var_os("GUST_TEST_PYTHON") {
        // Whoever names one means it: a wrong path fails below.
        Some(named) if !named.is_empty() => Some(named.into()),
        _ => Some(root.join(".venv/bin/python")).filter(|path| path.exists()),
    }
}

#[test]
fn googles_own_client_finds_the_fake_gce_as_google() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(python) = python(&root) else {
        eprintln!("SKIPPED: googles_own_client_finds_the_fake_gce_as_google");
        eprintln!(
            "  no Python with Google's client: set GUST_TEST_PYTHON, or run the test command, which makes .venv"
        );
        return;
    };
    let output = Command::new(&python)
        .arg("-B")
        .arg(root.join("tests/python/gce_client.py"))
        .arg(env!("CARGO_BIN_EXE_gust-fakes"))
        .output()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the check ended with {}", output.status);
}
