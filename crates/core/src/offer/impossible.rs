//! Why nothing satisfies a request, and the nearest requests that something does.

use std::fmt;

use crate::ids::MachineTypeName;
use crate::request::{Request, Tag, text};
use crate::shape::{Arch, Price};

/// What stands in the way of a request. Texts in it are safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Barrier {
    /// A name that the catalog does not have.
    #[error("there is no {tag} `{name}`{}; known are {known}", did_you_mean(.nearest))]
    UnknownName {
        /// The tag.
        tag: Tag,
        /// The name.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// What there is, for people.
        known: String,
    },
    /// A region or zone that exists, but not for this queue.
    #[error("{tag} `{name}` is not used here; machines are made in {served}")]
    NotServed {
        /// The tag.
        tag: Tag,
        /// The region or zone.
        name: String,
        /// Where machines are made, for people.
        served: String,
    },
    /// The operator gave the queue no place at all.
    #[error("no place is configured where machines can be made; the operator adds regions to a project")]
    NoPlaceAtAll,
    /// The families asked for do not have the accelerator.
    #[error("gpu `{kind}` is not to be had with {families}; families that have it: {suitable}")]
    NoGpu {
        /// The kind of accelerator.
        kind: String,
        /// The families asked for.
        families: String,
        /// Families that have it.
        suitable: String,
    },
    /// The accelerator is there, but not in that number on a machine of that size.
    #[error("no machine{} has `{asked}`; to be had are {suitable}", if *.sized { " of that size" } else { "" })]
    GpuCount {
        /// Kind and number.
        asked: String,
        /// A size was asked for, too.
        sized: bool,
        /// Numbers, and with a size the machines that have them.
        suitable: String,
    },
    /// Google no longer lists what would fit.
    #[error("no zone offers {families} any more in the size asked for: Google lists it in none of {places}")]
    Gone {
        /// The families that would fit.
        families: String,
        /// Where it was looked for.
        places: String,
    },
    /// The request is for another backend.
    #[error("backend `{backend}` makes no machines of the catalog")]
    Backend {
        /// The backend.
        backend: &'static str,
    },
    /// The families asked for have another architecture.
    #[error("{arch} is not to be had with {families}; families that are {arch}: {suitable}")]
    Arch {
        /// The families asked for.
        families: String,
        /// The architecture asked for.
        arch: Arch,
        /// The families of that architecture.
        suitable: String,
    },
    /// The families asked for have no local SSD.
    #[error("local SSD is not to be had with {families}; families that have it: {suitable}")]
    NoLocalSsd {
        /// The families asked for.
        families: String,
        /// Families with local SSD.
        suitable: String,
    },
    /// There is local SSD, but not so many disks at that size.
    #[error("no machine of that size takes {asked} or more local SSDs ({families})")]
    LocalSsdCount {
        /// How many were asked for.
        asked: u32,
        /// The families that were considered.
        families: String,
    },
    /// The families asked for take none of the boot disk types, or not so large.
    #[error("a boot disk of {asked} is not to be had with {families}; to be had is {suitable}")]
    DiskType {
        /// The families asked for.
        families: String,
        /// The types and size asked for.
        asked: String,
        /// What they take.
        suitable: String,
    },
    /// The families asked for are not in the places asked for.
    #[error("{places} has no {families}")]
    NotOffered {
        /// The families asked for.
        families: String,
        /// The places.
        places: String,
    },
    /// Spot, or on demand, is not to be had.
    #[error("spot={asked} is not to be had here for {families}")]
    Model {
        /// The tag's value.
        asked: &'static str,
        /// The families.
        families: String,
    },
    /// The operator's bounds exclude all that would fit.
    #[error(
        "{fitting} would fit but is not allowed here; allowed: {allowed}; the operator of this queue sets that"
    )]
    NotAllowed {
        /// The machine type that would be taken.
        fitting: String,
        /// What is allowed, for people.
        allowed: String,
    },
    /// A machine type that shares a core.
    #[error("{name} shares a core with others and is never used for jobs")]
    SharedCore {
        /// The machine types asked for.
        name: String,
    },
    /// A named machine type does not have the size asked for beside it.
    #[error("{actual}; asked beside it was {asked}")]
    NamedSize {
        /// What the named machine types have.
        actual: String,
        /// What else was asked for.
        asked: String,
    },
    /// No machine has that many vCPUs with that much memory.
    #[error("no machine has {cpu} and {memory} ({among})")]
    Shape {
        /// vCPUs asked for, for people.
        cpu: String,
        /// Memory asked for, for people.
        memory: String,
        /// Among which families or architecture.
        among: String,
    },
}

impl Barrier {
    /// The stable code of its page.
    pub fn code(&self) -> &'static str {
        match self {
            Barrier::UnknownName { .. } => "GUST111",
            Barrier::NotServed { .. } => "GUST112",
            Barrier::NoPlaceAtAll => "GUST113",
            Barrier::NoGpu { .. } => "GUST114",
            Barrier::GpuCount { .. } => "GUST126",
            Barrier::Gone { .. } => "GUST127",
            Barrier::Backend { .. } => "GUST115",
            Barrier::Arch { .. } => "GUST116",
            Barrier::NoLocalSsd { .. } => "GUST117",
            Barrier::LocalSsdCount { .. } => "GUST118",
            Barrier::DiskType { .. } => "GUST119",
            Barrier::NotOffered { .. } => "GUST120",
            Barrier::Model { .. } => "GUST121",
            Barrier::NotAllowed { .. } => "GUST122",
            Barrier::SharedCore { .. } => "GUST123",
            Barrier::NamedSize { .. } => "GUST124",
            Barrier::Shape { .. } => "GUST125",
        }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// A request near the impossible one that has an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The tags that differ, with their new values.
    pub changes: Vec<(Tag, String)>,
    /// The tags to leave out.
    pub without: Vec<Tag>,
    /// What tag names begin with in this queue.
    pub prefix: String,
    /// The whole request.
    pub request: Request,
    /// The machine it would get first.
    pub machine_type: MachineTypeName,
    /// Its price per hour.
    pub price: Price,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.changes.is_empty() {
            let tags: Vec<String> = self
                .changes
                .iter()
                .map(|(tag, value)| format!("{}{tag}={value}", self.prefix))
                .collect();
            parts.push(format!("`{}`", tags.join(" ")));
        }
        if !self.without.is_empty() {
            let names = self.without.iter().map(|tag| format!("{}{tag}", self.prefix));
            parts.push(format!("without {}", text::listed(names)));
        }
        write!(f, "{} ({}, {})", parts.join(" "), self.machine_type, self.price)
    }
}

/// Why a request has no offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct Impossible {
    /// What stands in the way; at least one.
    pub barriers: Vec<Barrier>,
    /// The nearest requests that have an offer, best first; at most three.
    pub nearest: Vec<Suggestion>,
}

impl Impossible {
    /// The code of the first barrier, such as `GUST125`.
    pub fn code(&self) -> &'static str {
        self.barriers.first().map_or("GUST110", Barrier::code)
    }

    /// Everything, in at most [`text::DETAIL_BYTES`] bytes.
    pub fn render(&self) -> String {
        text::bounded(&self.lines())
    }

    /// The first barrier with the first suggestion, in at most [`text::SHORT_CHARS`] characters.
    pub fn short(&self) -> String {
        let Some(barrier) = self.barriers.first() else {
            return String::new();
        };
        let barrier = format!("{}: {barrier}", barrier.code());
        let Some(nearest) = self.nearest.first() else {
            return text::short(&[barrier]);
        };
        let nearest = text::clipped(&format!("; nearest: {nearest}"), text::SHORT_CHARS / 2);
        text::clipped(&barrier, text::SHORT_CHARS - nearest.chars().count()) + &nearest
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .barriers
            .iter()
            .map(|b| format!("{}: {b}", b.code()))
            .collect();
        if !self.nearest.is_empty() {
            let all: Vec<String> = self.nearest.iter().map(ToString::to_string).collect();
            lines.push(format!("nearest: {}", all.join(" or ")));
        }
        lines
    }
}
