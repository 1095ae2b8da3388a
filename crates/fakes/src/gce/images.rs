//! Images: the families of Google's public image projects, and the project's own, which are not kept.

use super::catalog::Arch;
use super::check::is_name;
use super::error::ApiError;
use super::method::{self, Method};
use super::model::{Call, Model, Place};

/// Size of all images, GB.
pub(super) const IMAGE_GIB: u64 = 10;

/// A public family: its project, its name, what the names of its images begin with, and its newest version.
struct Family(&'static str, &'static str, &'static str, &'static str, Arch);

/// Debian and Ubuntu name images by codename and date, COS by milestone and build.
const FAMILIES: &[Family] = &[
    Family(
        "debian-cloud",
        "debian-11",
        "debian-11-bullseye",
        "v20261110",
        Arch::Amd64,
    ),
    Family(
        "debian-cloud",
        "debian-12",
        "debian-12-bookworm",
        "v20261110",
        Arch::Amd64,
    ),
    Family(
        "debian-cloud",
        "debian-12-arm64",
        "debian-12-bookworm-arm64",
        "v20261110",
        Arch::Arm64,
    ),
    Family(
        "debian-cloud",
        "debian-13",
        "debian-13-trixie",
        "v20261110",
        Arch::Amd64,
    ),
    Family(
        "debian-cloud",
        "debian-13-arm64",
        "debian-13-trixie-arm64",
        "v20261110",
        Arch::Arm64,
    ),
    Family(
        "ubuntu-os-cloud",
        "ubuntu-2204-lts",
        "ubuntu-2204-jammy",
        "v20261112",
        Arch::Amd64,
    ),
    Family(
        "ubuntu-os-cloud",
        "ubuntu-2204-lts-arm64",
        "ubuntu-2204-jammy-arm64",
        "v20261112",
        Arch::Arm64,
    ),
    Family(
        "ubuntu-os-cloud",
        "ubuntu-2404-lts-amd64",
        "ubuntu-2404-noble-amd64",
        "v20261112",
        Arch::Amd64,
    ),
    Family(
        "ubuntu-os-cloud",
        "ubuntu-2404-lts-arm64",
        "ubuntu-2404-noble-arm64",
        "v20261112",
        Arch::Arm64,
    ),
    Family(
        "cos-cloud",
        "cos-stable",
        "cos-stable",
        "125-19216-104-25",
        Arch::Amd64,
    ),
    Family(
        "cos-cloud",
        "cos-arm64-stable",
        "cos-arm64-stable",
        "125-19216-104-25",
        Arch::Arm64,
    ),
];

/// An image that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its family; images of the project's own have none unless they were asked for by one.
    pub family: Option<String>,
    /// Its architecture, where it is known.
    pub arch: Option<Arch>,
}

/// Whether the project is one of Google's that only holds images.
fn is_public(project: &str) -> bool {
    FAMILIES.iter().any(|family| family.0 == project)
}

/// Whether a text ends an image's name: `v20260101` or `125-19216-104-25`.
fn is_version(family: &Family, version: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if family.3.starts_with('v') {
        return version
            .strip_prefix('v')
            .is_some_and(|date| date.len() == 8 && is_number(date));
    }
    let parts = version.split('-').count();
    parts == 4 && version.split('-').all(is_number)
}

/// The image behind `global/images/` in a project: `family/F`, or a name. `own` says whether the project is
/// the caller's own.
pub(super) fn find(project: &str, own: bool, path: &str) -> Option<Image> {
    let wanted = path.strip_prefix("family/");
    if own {
        // Images of the project are not kept: any well-formed name exists, and says its architecture.
        let arch = path.contains("arm64") || path.contains("aarch64");
        return is_name(wanted.unwrap_or(path)).then(|| Image {
            name: wanted.map_or_else(|| path.to_owned(), |family| format!("{family}-1")),
            family: wanted.map(str::to_owned),
            arch: arch.then_some(Arch::Arm64),
        });
    }
    let has = |family: &&Family| {
        family.0 == project
            && wanted.map_or_else(
                || {
                    let version = path
                        .strip_prefix(family.2)
                        .and_then(|rest| rest.strip_prefix('-'));
                    version.is_some_and(|version| is_version(family, version))
                },
                |wanted| wanted == family.1,
            )
    };
    let family = FAMILIES.iter().find(has)?;
    let newest = || format!("{}-{}", family.2, family.3);
    Some(Image {
        name: wanted.map_or_else(|| path.to_owned(), |_| newest()),
        family: Some(family.1.to_owned()),
        arch: Some(family.4),
    })
}

impl Model {
    /// `images.get`, in a project of the fake or in a public image project.
    pub fn image(&mut self, call: &mut Call<'_>, project: &str, name: &str) -> Result<Image, ApiError> {
        self.read_image(call, &method::IMAGE_GET, project, name)
    }

    /// `images.getFromFamily`: the newest image of a family.
    pub fn image_of_family(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        family: &str,
    ) -> Result<Image, ApiError> {
        let path = format!("family/{family}");
        self.read_image(call, &method::IMAGE_OF_FAMILY, project, &path)
    }

    fn read_image(
        &mut self,
        call: &mut Call<'_>,
        method: &'static Method,
        project: &str,
        path: &str,
    ) -> Result<Image, ApiError> {
        // A call into a public project counts in the caller's own, of which the fake knows but the first.
        let first = self.project_id(0);
        let (public, payer) = match is_public(project) {
            true => (true, &*first),
            false => (false, project),
        };
        self.api(call, method, payer, Place::Global, |_, call, _| {
            call.count = 1;
            find(project, !public, path)
                .ok_or_else(|| ApiError::not_found(&format!("projects/{project}/global/images/{path}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_images_have_their_real_names() {
        for (project, path, arch) in [
            ("debian-cloud", "debian-12-bookworm-v20250311", Arch::Amd64),
            ("debian-cloud", "debian-12-bookworm-arm64-v20250311", Arch::Arm64),
            ("ubuntu-os-cloud", "ubuntu-2204-jammy-v20240223", Arch::Amd64),
            ("ubuntu-os-cloud", "family/ubuntu-2404-lts-arm64", Arch::Arm64),
            ("cos-cloud", "cos-stable-117-18613-164-13", Arch::Amd64),
        ] {
            let found = find(project, false, path).unwrap_or_else(|| panic!("no {path}"));
            assert_eq!(found.arch, Some(arch), "{path}");
        }
        for (project, path) in [
            ("debian-cloud", "debian-12-v20250311"),
            ("debian-cloud", "debian-12-bookworm-v2025"),
            ("debian-cloud", "family/debian-9"),
            ("ubuntu-os-cloud", "debian-12-bookworm-v20250311"),
            ("cos-cloud", "cos-stable-117"),
        ] {
            assert_eq!(find(project, false, path), None, "{path}");
        }
        let newest = find("debian-cloud", false, "family/debian-12").map(|image| image.name);
        let again = newest
            .as_deref()
            .and_then(|name| find("debian-cloud", false, name));
        assert_eq!(
            again.map(|image| image.name),
            newest,
            "the newest can be had by name"
        );
    }
}
