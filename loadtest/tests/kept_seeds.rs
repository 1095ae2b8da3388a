//! Runs that failed once, cut down: the name of each file says what was wrong.

use std::{fs, path::Path};

use gust_loadtest::virtual_gear::{Keep, Scenario, run};

#[test]
fn what_was_wrong_once_is_right() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut files: Vec<_> = fs::read_dir(&dir)
        .expect("there is a directory of kept scenarios")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario in {}", dir.display());
    let mut failed = Vec::new();
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let scenario = Scenario::load(file).unwrap_or_else(|bad| panic!("{bad}"));
        let outcome = run(&scenario, Keep::Nothing);
        let counts = &outcome.verdict.counts;
        eprintln!("{name}: {} jobs, {} faults met", counts.jobs, counts.faults);
        if let Some(failure) = outcome.failure() {
            failed.push(format!("{name}: {failure}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
