//! Reply bodies: whole, halved by a fault, or streamed.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::http::task;

/// A reply body of the skin.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body known whole.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// The first half of the bytes, and then the connection breaks.
pub(super) fn halved(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let (sender, body) = streamed();
    task::spawn("halved reply", async move {
        let _ = sender.send(Ok(Frame::data(half))).await;
        // The half must have left before the connection breaks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = sender.send(Err(io::Error::other("truncated by a fault"))).await;
    });
    body
}

/// A body that is written while it is sent.
pub(super) fn streamed() -> (mpsc::Sender<Result<Frame<Bytes>, io::Error>>, Body) {
    let (sender, receiver) = mpsc::channel(64);
    (
        sender,
        StreamBody::new(ReceiverStream::new(receiver)).boxed_unsync(),
    )
}
