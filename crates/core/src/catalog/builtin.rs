//! The data files that come with gust.

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../data/catalog/", $name)))
    };
}

/// Names and texts, in the order they are laid over each other.
pub(super) const FILES: &[(&str, &str)] = &[
    file!("regions.toml"),
    file!("disks.toml"),
    file!("c2.toml"),
    file!("c2d.toml"),
    file!("c3.toml"),
    file!("c3d.toml"),
    file!("c4.toml"),
    file!("c4a.toml"),
    file!("c4d.toml"),
    file!("e2.toml"),
    file!("n1.toml"),
    file!("n2.toml"),
    file!("n2d.toml"),
    file!("n4.toml"),
    file!("n4a.toml"),
    file!("n4d.toml"),
    file!("t2a.toml"),
    file!("t2d.toml"),
];
