//! What is fuzzed: every parser of bytes that come from outside.

mod cloud;
mod fakes;
mod files;
mod guest;
mod identity;
mod messages;
mod source;

/// A parser, and real samples of what it reads.
pub(super) struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Real samples.
    pub corpus: Vec<Vec<u8>>,
    /// Reads an input. True if it was taken, so that a run can show that not all is turned away at the door.
    pub run: Read,
}

/// A parser.
pub(super) type Read = Box<dyn FnMut(&[u8]) -> bool>;

/// Makes a target anew: what a panic left behind is not used again.
pub(super) type Make = fn() -> Target;

impl Target {
    fn new(
        name: &'static str,
        corpus: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        run: impl FnMut(&[u8]) -> bool + 'static,
    ) -> Self {
        Self {
            name,
            corpus: corpus.into_iter().map(Into::into).collect(),
            run: Box::new(run),
        }
    }

    /// For parsers of text: bytes that are no UTF-8 become the replacement character, as they do on the way there.
    fn of_text(
        name: &'static str,
        corpus: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        mut run: impl FnMut(&str) -> bool + 'static,
    ) -> Self {
        Self::new(name, corpus, move |bytes| run(&String::from_utf8_lossy(bytes)))
    }
}

/// All of them.
pub(super) fn all() -> Vec<Make> {
    let each: [&[Make]; 7] = [
        files::ALL,
        messages::ALL,
        identity::ALL,
        guest::ALL,
        fakes::ALL,
        source::ALL,
        cloud::ALL,
    ];
    each.concat()
}
