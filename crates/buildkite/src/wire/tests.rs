use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::reply::decode;

#[test]
fn a_list_as_documented_is_read_and_nulls_are_fine() {
    let list: ListReply<ListedJob> = decode(
        br#"{"jobs":[
            {"id":"0198c0de-0000-7000-8000-000000000001","priority":3,"agent_query_rules":["queue=gust","cpu=8"],
             "scheduled_at":"2026-08-01T10:00:00.000Z","runnable_at":"2026-08-01T10:00:01Z","new":{"x":[1]},
             "pipeline":{"slug":"p","uuid":"u"},"build":{"number":12,"branch":"main","uuid":"b"},"step":{"key":"k"}},
            {"id":"0198c0de-0000-7000-8000-000000000002","priority":null,"agent_query_rules":null,
             "scheduled_at":null,"pipeline":null,"build":{"number":null,"branch":null},"step":{"key":null}}],
            "page_info":{"has_next_page":true,"end_cursor":"c"},"cluster_queue":{"id":"q","paused":true}}"#,
    )
    .expect("the documented form");
    assert_eq!(list.jobs[0].agent_query_rules, ["queue=gust", "cpu=8"]);
    assert_eq!(list.jobs[0].step.key.as_deref(), Some("k"));
    assert_eq!(list.jobs[1].build.number, 0);
    assert_eq!(list.jobs[1].scheduled_at, None);
    assert_eq!(list.page_info.next().as_deref(), Some("c"));
    assert!(list.cluster_queue.is_paused());
}

#[test]
fn each_spelling_of_the_pause_flag_pauses() {
    for (flags, paused) in [
        (r#"{"paused":true,"dispatch_paused":false}"#, true),
        (r#"{"dispatch_paused":true}"#, true),
        (r#"{"paused":false,"dispatch_paused":null}"#, false),
        ("{}", false),
    ] {
        let queue: ClusterQueue = decode(flags.as_bytes()).expect("flags");
        assert_eq!(queue.is_paused(), paused, "{flags}");
    }
}

#[test]
fn a_reply_without_its_main_field_is_no_reply() {
    assert!(decode::<ListReply<ListedJob>>(br#"{"message":"hello"}"#).is_err());
    assert!(decode::<ListReply<ListedJob>>(b"[]").is_err());
    assert!(decode::<ReserveReply>(br#"{"not_reserved":[]}"#).is_err());
    assert!(decode::<StatesReply>(b"{}").is_err());
    assert!(decode::<TokensReply>(b"{}").is_err());
    assert!(decode::<ReserveReply>(br#"{"reserved":null}"#).is_ok());
}

#[test]
fn one_odd_job_does_not_hide_the_others() {
    let list: ListReply<Value> = decode(
        br#"{"jobs":[{"id":"not-a-uuid"},{"id":"0198c0de-0000-7000-8000-000000000001"},
                     {"id":"0198c0de-0000-7000-8000-000000000002","priority":{}},7]}"#,
    )
    .expect("a list");
    let (jobs, unreadable) = read_jobs(list.jobs);
    assert_eq!(jobs.len(), 1);
    let ids: Vec<_> = unreadable.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "not-a-uuid",
            "0198c0de-0000-7000-8000-000000000002",
            "without an id"
        ]
    );
}

#[test]
fn null_environment_values_become_empty() {
    let job: JobDetail = decode(br#"{"id":"x","env":{"A":"1","B":null},"command":null}"#).expect("a job");
    assert_eq!(job.env.get("B").map(String::as_str), Some(""));
    assert!(decode::<JobDetail>(br#"{"env":{"A":1}}"#).is_err());
}

#[test]
fn a_finish_always_says_its_exit_status() {
    let body = serde_json::to_string(&FinishRequest {
        exit_status: 0,
        detail: "d",
    })
    .expect("JSON");
    assert_eq!(body, r#"{"exit_status":0,"detail":"d"}"#);
}

fn read_all(bytes: &[u8]) -> bool {
    decode::<ListReply<Value>>(bytes)
        .map(|list| read_jobs(list.jobs))
        .is_ok()
        | decode::<ListReply<ListedJob>>(bytes).is_ok()
        | decode::<ReserveReply>(bytes).is_ok()
        | decode::<StatesReply>(bytes).is_ok()
        | decode::<NotifyReply>(bytes).is_ok()
        | decode::<TokensReply>(bytes).is_ok()
        | decode::<Stack>(bytes).is_ok()
        | decode::<TokenIdentity>(bytes).is_ok()
        | decode::<JobDetail>(bytes).is_ok()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn a_good_reply_with_damage_is_read_or_refused(cut in 0_usize..400, at in 0_usize..400, byte in any::<u8>()) {
        let mut body = br#"{"jobs":[{"id":"0198c0de-0000-7000-8000-000000000001","priority":0,"agent_query_rules":["cpu=8"],"scheduled_at":"2026-08-01T10:00:00.000Z","pipeline":{"slug":"p"},"build":{"number":1},"step":{"key":null}}],"page_info":{"has_next_page":false,"end_cursor":null},"cluster_queue":{"dispatch_paused":false}}"#.to_vec();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        body.truncate(cut);
        read_all(&body);
    }

    #[test]
    fn a_cursor_is_only_followed_where_there_is_a_next_page(more in any::<bool>(), cursor in "[a-z]{0,3}") {
        let text = format!(r#"{{"has_next_page":{more},"end_cursor":"{cursor}"}}"#);
        let next = decode::<PageInfo>(text.as_bytes()).map(PageInfo::next);
        prop_assert!(next.is_ok());
        let want = (more && !cursor.is_empty()).then_some(cursor);
        prop_assert_eq!(next.ok().flatten(), want);
    }
}
