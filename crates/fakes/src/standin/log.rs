//! The job's log on its way out: redacted, cut into chunks, compressed, uploaded by three workers.

use std::{io::Write as _, sync::atomic::AtomicUsize, sync::atomic::Ordering, time::Duration};

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use tokio::sync::{Mutex, mpsc};

use super::{
    api::{Api, Failure, Send, repeat},
    chain,
    redact::Redactor,
    say,
};

/// A piece of the log. Offset and size count bytes before compression.
pub struct Chunk {
    sequence: u64,
    offset: usize,
    data: Vec<u8>,
}

/// The writing end.
pub struct Log {
    redactor: Redactor,
    ready: Vec<u8>,
    max: usize,
    sequence: u64,
    offset: usize,
    out: mpsc::UnboundedSender<Chunk>,
}

impl Log {
    /// A log in chunks of at most `max` bytes, and the end to upload from.
    pub fn new(max: usize, redactor: Redactor) -> (Self, mpsc::UnboundedReceiver<Chunk>) {
        // Unbounded: the job must not be slowed by the upload, as with the real agent.
        let (out, chunks) = mpsc::unbounded_channel();
        (
            Self {
                redactor,
                ready: Vec::new(),
                max,
                sequence: 0,
                offset: 0,
                out,
            },
            chunks,
        )
    }

    /// Adds output.
    pub fn write(&mut self, bytes: &[u8]) {
        self.redactor.push(bytes, &mut self.ready);
        while self.ready.len() >= self.max {
            let rest = self.ready.split_off(self.max);
            let full = std::mem::replace(&mut self.ready, rest);
            self.send(full);
        }
    }

    /// Sends what there is.
    pub fn flush(&mut self) {
        if !self.ready.is_empty() {
            let data = std::mem::take(&mut self.ready);
            self.send(data);
        }
    }

    /// Sends all of it; the uploaders end after that.
    pub fn end(mut self) {
        self.redactor.end(&mut self.ready);
        self.write(&[]);
        self.flush();
    }

    fn send(&mut self, data: Vec<u8>) {
        self.sequence += 1;
        let chunk = Chunk {
            sequence: self.sequence,
            offset: self.offset,
            data,
        };
        self.offset += chunk.data.len();
        // The uploaders outlive the log: they end when this end is dropped.
        let _ = self.out.send(chunk);
    }
}

/// Uploads until the log ends; returns how many chunks were given up.
pub async fn upload(api: &Api, job: &str, chunks: mpsc::UnboundedReceiver<Chunk>) -> usize {
    let chunks = Mutex::new(chunks);
    let failed = AtomicUsize::new(0);
    let worker = async || {
        loop {
            let next = chunks.lock().await.recv().await;
            let Some(chunk) = next else { return };
            if let Err(failure) = upload_one(api, job, &chunk).await {
                say(&format!(
                    "log chunk {} given up: {}",
                    chunk.sequence,
                    chain(&failure)
                ));
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    tokio::join!(worker(), worker(), worker());
    failed.into_inner()
}

/// A service that is down gets 12 tries; any 4xx, 429 included, is final.
async fn upload_one(api: &Api, job: &str, chunk: &Chunk) -> Result<(), Failure> {
    let Chunk {
        sequence,
        offset,
        data,
    } = chunk;
    let path = format!(
        "jobs/{job}/chunks?sequence={sequence}&offset={offset}&size={}",
        data.len()
    );
    let body = gzip(data);
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let wait = |attempt: u32| Duration::from_secs(2).mul_f64(1.55_f64.powi(attempt.min(12) as i32 - 1));
    let again = |failure: &Failure| failure.status().is_none_or(|status| status >= 500);
    let send = async || {
        let send = Send {
            method: Method::POST,
            path: &path,
            headers: &headers,
            body: body.clone(),
        };
        api.send(send).await.map(drop)
    };
    repeat("log chunk", 12, wait, again, send).await
}

/// Compressed as a chunk is.
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(data)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_contiguous_and_never_larger_than_allowed() {
        let (mut log, mut chunks) = Log::new(4, Redactor::default());
        log.write(b"abcdefghij");
        log.flush();
        log.write(b"k");
        log.end();
        let mut whole = Vec::new();
        let mut sequence = 0;
        while let Ok(chunk) = chunks.try_recv() {
            sequence += 1;
            assert_eq!((chunk.sequence, chunk.offset), (sequence, whole.len()));
            assert!((1..=4).contains(&chunk.data.len()));
            whole.extend(chunk.data);
        }
        assert_eq!(whole, b"abcdefghijk");
    }
}
