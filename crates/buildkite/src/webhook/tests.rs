use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn secret() -> Secret {
    Secret::new("whsec")
}

fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [timestamp.as_bytes(), b".", body].concat();
    let tag = hmac::sign(&key, &signed);
    format!("timestamp={timestamp},signature={}", hex::encode(tag))
}

#[test]
fn the_signature_is_the_one_that_other_programs_make() {
    // From Python: hmac.new(b"whsec", b"1700000000.{}", "sha256").hexdigest()
    let python =
        "timestamp=1700000000,signature=7d44587dddbaf4c7f70fef20f48cd594834ffea1641e3ac227b84408298738af";
    assert_eq!(sign("whsec", "1700000000", b"{}"), python);
    assert_eq!(verify(&secret(), None, Some(python), b"{}", NOW), Ok(()));
}

#[test]
fn either_proof_is_enough_and_of_two_both_must_hold() {
    let good = sign("whsec", "1700000000", b"{}");
    let bad = sign("other", "1700000000", b"{}");
    let check = |token, signature| verify(&secret(), token, signature, b"{}", NOW);
    assert_eq!(check(Some("whsec"), None), Ok(()));
    assert_eq!(check(None, Some(&*good)), Ok(()));
    assert_eq!(check(Some("whsec"), Some(&*good)), Ok(()));
    assert_eq!(check(None, None), Err(Refused::NoProof));
    for wrong in ["", "whse", "whsecs", "WHSEC"] {
        assert_eq!(check(Some(wrong), Some(&*good)), Err(Refused::Token));
    }
    assert_eq!(check(Some("whsec"), Some(&*bad)), Err(Refused::Signature));
    assert_eq!(
        verify(&secret(), None, Some(&good), b"{ }", NOW),
        Err(Refused::Signature)
    );
}

#[test]
fn a_signature_counts_for_five_minutes_either_way() {
    let at = |seconds: i64| {
        let header = sign("whsec", &(1_700_000_000 + seconds).to_string(), b"{}");
        verify(&secret(), None, Some(&header), b"{}", NOW)
    };
    assert_eq!((at(-300), at(300)), (Ok(()), Ok(())));
    let stale = at(-600).expect_err("ten minutes old");
    insta::assert_snapshot!(stale, @"x-buildkite-signature was made 600 s before the present: repeated, or a clock is wrong (gust takes 300 s)");
    assert_eq!(
        at(301),
        Err(Refused::Stale {
            seconds: 301,
            ahead: true
        })
    );
}

#[test]
fn a_signature_in_another_form_is_told_apart_from_a_wrong_one() {
    let forms = [
        "",
        "signature=00",
        "timestamp=1",
        "timestamp=x,signature=00",
        "timestamp=1,signature=zz",
        "a,b,c",
    ];
    for header in forms {
        assert_eq!(
            verify(&secret(), None, Some(header), b"{}", NOW),
            Err(Refused::SignatureForm),
            "{header}"
        );
    }
}

#[test]
fn events_hint_at_what_to_look_at() {
    let job = "00000000-0000-0000-0000-000000000007";
    let id = JobId(job.parse().expect("a UUID"));
    let rules = r#"["cpu=8","queue=gust"]"#;
    let bodies = [
        (
            format!(r#"{{"event":"job.scheduled","job":{{"id":"{job}","agent_query_rules":{rules}}}}}"#),
            Some(Hint::Scheduled(Some(QueueKey::from("gust")))),
        ),
        (
            r#"{"event":"job.scheduled","job":{"agent_query_rules":null}}"#.to_owned(),
            Some(Hint::Scheduled(None)),
        ),
        (
            format!(r#"{{"event":"job.finished","job":{{"id":"{job}"}}}}"#),
            Some(Hint::Ended(Some(id))),
        ),
        (r#"{"event":"job.finished","job":7}"#.to_owned(), None),
        (
            r#"{"event":"build.running"}"#.to_owned(),
            Some(Hint::Scheduled(None)),
        ),
        (
            r#"{"event":"build.finished"}"#.to_owned(),
            Some(Hint::Ended(None)),
        ),
        (r#"{"event":"agent.connected"}"#.to_owned(), None),
        (r#"{"event":"ping"}"#.to_owned(), None),
    ];
    for (body, hint) in bodies {
        assert_eq!(read(None, body.as_bytes()), Ok(hint), "{body}");
    }
    assert_eq!(
        read(Some("build.running"), b"{}"),
        Ok(Some(Hint::Scheduled(None))),
        "the header names it"
    );
    for body in ["", "<html>", "{\"event\":", "[]", "{}", "7"] {
        assert!(
            matches!(read(None, body.as_bytes()), Err(Refused::Body(_))),
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_in_makes_it_panic(header in ".{0,80}", body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = verify(&secret(), Some(&header), Some(&header), &body, NOW);
        let _ = verify(&secret(), None, Some(&header), &body, NOW);
        let _ = read(Some(&header), &body);
    }
}
