//! `catalog`: files laid over the catalog that comes with gust, such as prices of a contract.

use std::path::Path;

use gust_core::catalog::Catalog;
use serde::Serialize;

use super::{
    section::{Complaint, Section},
    value,
};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogFile {
    /// As the configuration names it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Reads the files and lays them over the built-in catalog, so that a typing error is found at the start.
pub(super) fn read(root: &Section<'_>, base: &Path) -> Vec<CatalogFile> {
    let mut files = Vec::new();
    let Some(field) = root.field("catalog") else {
        return files;
    };
    let items = field.items("a list of files").unwrap_or_default();
    for item in &items {
        let Some(name) = item.parsed("a path", value::word) else {
            continue;
        };
        match item.surroundings().read_data(&base.join(&name)) {
            Ok(text) => files.push(CatalogFile { name, text }),
            Err(error) => item.report(Complaint::new(format!("{name} cannot be read: {error}"))),
        }
    }
    // Each is tried upon those before it, so that the one that is wrong is the one that is named.
    for (at, item) in items.iter().enumerate().take(files.len()) {
        if let Err(error) = laid_over(&files[..=at]) {
            item.report(Complaint::new(told(&error)).hint(format!(
                "{} overrides keys of the files in crates/core/data/catalog",
                files[at].name
            )));
            break;
        }
    }
    files
}

/// The catalog with the files laid over it.
///
/// # Errors
/// What does not fit, and where.
pub fn laid_over(files: &[CatalogFile]) -> Result<Catalog, gust_core::catalog::Error> {
    let texts: Vec<(&str, &str)> = files.iter().map(|f| (f.name.as_str(), f.text.as_str())).collect();
    Catalog::builtin().merge(&texts)
}

/// The error with its causes, in one line.
fn told(error: &gust_core::catalog::Error) -> String {
    let mut text = format!("[{}] {error}", error.code());
    let mut cause = std::error::Error::source(error);
    while let Some(below) = cause {
        text += &format!(": {}", below.to_string().trim().replace('\n', " "));
        cause = below.source();
    }
    text
}
