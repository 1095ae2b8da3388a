//! What a failed call means.

use etcd_client::Error;

use super::super::wire::EtcdError;

/// What etcd says before it has done anything (etcd 3.4 to 3.6, `api/v3rpc/rpctypes/error.go`), with what to do.
const REFUSALS: [(&str, &str); 9] = [
    (
        "database space exceeded",
        "etcd is full: compact and defragment it, then disarm its NOSPACE alarm (`etcdctl alarm disarm`)",
    ),
    ("too many requests", "etcd is overloaded"),
    ("request is too large", "raise etcd's --max-request-bytes"),
    ("too many operations", "raise etcd's --max-txn-ops"),
    ("duplicate key", "this is a fault of gust's; please report it"),
    ("authentication failed", "check the user and the password"),
    ("user name is empty", "etcd wants a user and a password"),
    ("permission denied", "give the user a role for the stack's prefix"),
    ("invalid auth token", "the session has ended; a new one is begun"),
];

/// Nothing but a plain refusal is believed: a call that broke off may have had its effect.
pub(super) fn classed(error: Error) -> EtcdError {
    let status = match error {
        Error::GRpcStatus(status) => status,
        Error::LeaseKeepAliveError(said) if said.contains("not found") => return EtcdError::NoLease,
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            return EtcdError::Refused(error.to_string());
        }
        error => return EtcdError::Unclear(error.to_string()),
    };
    let said = status.message();
    if said.contains("requested lease not found") {
        return EtcdError::NoLease;
    }
    if said.contains("required revision has been compacted") {
        return EtcdError::Compacted { revision: 0 };
    }
    match REFUSALS.iter().find(|(words, _)| said.contains(words)) {
        Some((_, remedy)) => EtcdError::Refused(format!("{said}; {remedy}")),
        None => EtcdError::Unclear(chain(&status)),
    }
}

/// A status with its causes: of a broken connection the last one tells what was wrong, such as a certificate.
fn chain(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    fn status(code: Code, said: &str) -> EtcdError {
        classed(Error::GRpcStatus(Status::new(code, said)))
    }

    #[test]
    fn only_what_etcd_said_before_it_did_anything_is_a_refusal() {
        let full = status(
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        );
        assert!(matches!(full, EtcdError::Refused(_)), "{full:?}");
        assert_eq!(
            status(Code::NotFound, "etcdserver: requested lease not found"),
            EtcdError::NoLease
        );
        for said in [
            "etcdserver: request timed out",
            "etcdserver: leader changed",
            "etcdserver: no leader",
            "transport error",
            "",
        ] {
            let unclear = status(Code::Unavailable, said);
            assert!(matches!(unclear, EtcdError::Unclear(_)), "{unclear:?}");
        }
    }
}
