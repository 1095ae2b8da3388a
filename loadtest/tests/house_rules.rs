//! Rules that no lint knows.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

// A select without order asks the runtime's own randomness which branch comes first: the same seed would not give
// the same run.
#[test]
fn every_select_polls_its_branches_in_the_order_they_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("crates")).expect("there are crates") {
        sources(
            &entry.expect("the entry can be read").path().join("src"),
            &mut files,
        );
    }
    sources(&root.join("loadtest/src"), &mut files);
    let (mut selects, mut unordered) = (0, Vec::new());
    for file in &files {
        let text = fs::read_to_string(file).expect("a source is text");
        for (at, _) in text.match_indices("select!") {
            let rest = text[at + "select!".len()..].trim_start();
            let Some(body) = rest.strip_prefix('{') else {
                continue;
            };
            selects += 1;
            if !body.trim_start().starts_with("biased;") {
                let line = text[..at].lines().count();
                unordered.push(format!("{}:{line}", file.display()));
            }
        }
    }
    assert!(selects > 20, "only {selects} found in {} files", files.len());
    assert!(
        unordered.is_empty(),
        "without `biased;`:\n{}",
        unordered.join("\n")
    );
}
