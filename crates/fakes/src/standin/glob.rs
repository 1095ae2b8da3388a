//! File patterns: `*` and `?` within a name, `**` over any number of directories.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Files below the present directory that match one of the patterns, which are separated by `;`.
pub fn find(patterns: &str) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for pattern in patterns
        .split([';', '\n'])
        .map(str::trim)
        .filter(|pattern| !pattern.is_empty())
    {
        let path = Path::new(pattern);
        if path.is_file() {
            found.insert(path.to_owned());
        } else {
            let (base, rest) = match pattern.strip_prefix('/') {
                Some(rest) => (PathBuf::from("/"), rest),
                None => (PathBuf::new(), pattern),
            };
            let segments: Vec<&str> = rest.split('/').filter(|segment| *segment != ".").collect();
            walk(&base, &segments, &mut found)?;
        }
    }
    Ok(found)
}

fn walk(base: &Path, segments: &[&str], found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let Some((first, rest)) = segments.split_first() else {
        return Ok(());
    };
    if *first == "**" {
        walk(base, rest, found)?;
    }
    let directory = if base.as_os_str().is_empty() {
        Path::new(".")
    } else {
        base
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = base.join(entry.file_name());
        // A link to a directory is not followed: it may lead in a circle.
        let is_directory = entry.file_type()?.is_dir();
        match (*first, rest.is_empty()) {
            ("**", _) if is_directory => walk(&path, segments, found)?,
            ("**", true) if path.is_file() => {
                found.insert(path);
            }
            ("**", _) => {}
            (pattern, true) if matches(pattern, &name) && path.is_file() => {
                found.insert(path);
            }
            (pattern, false) if is_directory && matches(pattern, &name) => walk(&path, rest, found)?,
            _ => {}
        }
    }
    Ok(())
}

/// True if the name has the pattern's form.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p).is_some_and(|c| *c == '?' || *c == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, taken)) = star {
            p = at + 1;
            n = taken + 1;
            star = Some((at, taken + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_stars_and_question_marks() {
        for (pattern, name, want) in [
            ("*.log", "a.log", true),
            ("*.log", "a.txt", false),
            ("a*b*c", "axxbxxbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn double_stars_reach_any_depth() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b")).expect("directories");
        for file in ["x.log", "a/y.log", "a/b/z.log", "a/b/z.txt"] {
            fs::write(root.path().join(file), file).expect("a file");
        }
        let count = |pattern: &str| {
            find(&format!("{}/{pattern}", root.path().display()))
                .expect("a walk")
                .len()
        };
        assert_eq!(count("**/*.log"), 3);
        assert_eq!(count("a/*.log"), 1);
        assert_eq!(count("a/**"), 3);
        assert_eq!(count("a/*/*"), 2);
    }
}
