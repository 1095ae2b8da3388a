//! The fuzzer for five seconds: that it feeds every target, and that nothing panics. `gust-loadtest fuzz` does it for long.

use std::process::Command;

#[test]
fn every_target_is_fed_and_nothing_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = Command::new(env!("CARGO_BIN_EXE_gust-loadtest"))
        .args(["fuzz", "--seconds", "5", "--dir"])
        .arg(dir.path())
        .output()
        .expect("it starts");
    let table = String::from_utf8_lossy(&run.stdout);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{table}\n{said}");
    let rows: Vec<&str> = table.lines().skip(1).collect();
    assert!(rows.len() > 40, "{table}");
    for row in rows.iter().filter(|row| !row.ends_with("findings")) {
        let words: Vec<&str> = row.split_whitespace().collect();
        // Executions, taken, the slowest, findings.
        let [.., _, taken, _, _] = words[..] else {
            panic!("no row: {row}");
        };
        // Samples are real ones: some of them are taken as they are.
        assert_ne!(taken, "0", "nothing was taken: {row}\n{table}");
    }
}

#[test]
fn a_target_that_is_not_there_is_refused() {
    let run = Command::new(env!("CARGO_BIN_EXE_gust-loadtest"))
        .args(["fuzz", "--target", "nothing"])
        .output()
        .expect("it starts");
    assert_eq!(run.status.code(), Some(2));
}
