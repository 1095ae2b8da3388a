//! The way between a replica and the world: messages take time, get lost, come twice, come late.
//!
//! A message that has left is out of its sender's hands: its effect is had by a task of the world, so a crash
//! of the sender does not take it back. What happens to it is drawn by the [`Weather`].

use std::{fmt, sync::Arc, time::Duration};

use gust_server::task::Tasks;
use tokio::sync::oneshot;

/// Where a message passes; also where faults are aimed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the call that its name says")]
pub enum Point {
    EtcdRange,
    EtcdTxn,
    EtcdGrant,
    EtcdKeepAlive,
    EtcdRevoke,
    EtcdWatch,
    SourceRegister,
    SourceList,
    SourceReserve,
    SourceStates,
    SourceFinish,
    SourceNotify,
    SourceTokens,
    CloudCreate,
    CloudOperation,
    CloudFates,
    CloudList,
    CloudGet,
    CloudDelete,
    CloudQuotas,
    LinkOpen,
    LinkCommand,
    LinkEvent,
    GuestClaim,
    GuestDone,
}

/// What happens to one message and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    /// How long it is on its way.
    pub there: Duration,
    /// What becomes of it.
    pub fate: Fate,
    /// How long the answer is on its way.
    pub back: Duration,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It has its effect, and the answer arrives.
    Served,
    /// It never arrives.
    LostBefore,
    /// It has its effect; the answer is lost.
    LostAfter,
    /// It has its effect; of the answer only a part arrives, which is no answer.
    Truncated,
    /// It has its effect twice, the second time this much later; the first answer arrives.
    Doubled(Duration),
    /// Something in between answers with this status, and a body that is not the service's if `html`.
    Refused {
        /// HTTP status.
        status: u16,
        /// True for a page of HTML in place of the service's own error.
        html: bool,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => Ok(()),
            Self::LostBefore => f.write_str("never arrives"),
            Self::LostAfter => f.write_str("has its effect, the answer is lost"),
            Self::Truncated => f.write_str("has its effect, the answer is cut off"),
            Self::Doubled(later) => write!(f, "again {} ms later", later.as_millis()),
            Self::Refused { status, html: false } => write!(f, "answered {status}"),
            Self::Refused { status, html: true } => write!(f, "answered {status} with a page of HTML"),
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No answer within the deadline, or the connection broke: whether it had its effect is unknown.
    Lost,
    /// The answer is cut off: it had its effect, which the sender cannot know.
    CutOff,
    /// Refused on the way, without effect.
    Refused {
        /// HTTP status.
        status: u16,
        /// Not the service's own words.
        html: bool,
    },
}

/// Decides about messages. May crash or freeze the sender in either call.
pub trait Weather: Send + Sync {
    /// A message is about to leave replica `from`.
    fn passage(&self, from: usize, point: Point) -> Passage;

    /// A message had its effect; its answer is about to leave.
    fn served(&self, from: usize, point: Point);
}

/// The network of one world. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    /// What happens to messages.
    pub weather: Arc<dyn Weather>,
    /// Tasks of the world: they outlive any replica.
    pub tasks: Tasks,
}

impl Net {
    /// Sends a message from replica `from`, lets it have its `effect`, and brings the answer back, all within
    /// `deadline`.
    ///
    /// # Errors
    /// [`Trouble`], as a client would see it.
    pub async fn deliver<T: Send + 'static>(
        &self,
        from: usize,
        point: Point,
        deadline: Duration,
        mut effect: impl FnMut() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let passage = self.weather.passage(from, point);
        let weather = Arc::clone(&self.weather);
        let (reply, answer) = oneshot::channel();
        // Messages are many, and nobody ends one that has left.
        self.tasks.detach("message", async move {
            tokio::time::sleep(passage.there).await;
            match passage.fate {
                Fate::LostBefore => {}
                Fate::Refused { status, html } => {
                    tokio::time::sleep(passage.back).await;
                    let _ = reply.send(Err(Trouble::Refused { status, html }));
                }
                Fate::Served | Fate::LostAfter | Fate::Truncated | Fate::Doubled(_) => {
                    let value = effect();
                    weather.served(from, point);
                    if passage.fate != Fate::LostAfter {
                        tokio::time::sleep(passage.back).await;
                        let answer = match passage.fate {
                            Fate::Truncated => Err(Trouble::CutOff),
                            _ => Ok(value),
                        };
                        // A sender that crashed or gave up does not listen any more.
                        let _ = reply.send(answer);
                    }
                    if let Fate::Doubled(later) = passage.fate {
                        tokio::time::sleep(later).await;
                        drop(effect());
                    }
                }
            }
        });
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // The message's task let go of the reply: a broken connection, seen at once.
            Ok(Err(_)) | Err(_) => Err(Trouble::Lost),
        }
    }
}
