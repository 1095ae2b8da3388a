use std::sync::Arc;

use gust_core::{ids::Term, ports::Member};
use gust_proto::v1::peer_service_server::PeerServiceServer;
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::*;
use crate::{
    replica::Leadership,
    rpc::{PeerLinks, PeerRpc},
    testing::ToldStore,
};

fn job() -> JobId {
    JobId(uuid::Uuid::from_u128(7))
}

#[test]
fn hints_are_the_same_on_the_other_side() {
    let hints = [
        Hint::Scheduled(None),
        Hint::Scheduled(Some(QueueKey::from("gust"))),
        Hint::Ended(None),
        Hint::Ended(Some(job())),
    ];
    for hint in hints {
        assert_eq!(read_hint(write_hint(hint.clone())), Some(hint));
    }
    let odd = HintRequest {
        hint: Some(Said::EndedJob("x".to_owned())),
    };
    assert_eq!(read_hint(odd), None);
    assert_eq!(read_hint(HintRequest { hint: None }), None);
}

/// Of a replica that follows the one at this address.
fn follower(address: String, tasks: &Tasks) -> Hints {
    let member = Member {
        replica: "r1".into(),
        zone: String::new(),
        address,
        version: String::new(),
        config: String::new(),
    };
    let store = ToldStore::default();
    store.members.lock().unwrap().insert("r1".into(), member);
    let following = Leadership::Following {
        leader: "r1".into(),
        term: Term(3),
    };
    let (_, leadership) = watch::channel(following);
    let forward = Forward::new(leadership, Arc::new(store), PeerLinks::new(None));
    Hints::begin(Handle::default(), Some(forward), tasks)
}

#[tokio::test]
async fn what_a_follower_is_told_reaches_the_leader_once() {
    let tasks = Tasks::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (leader, mut hinted) = Handle::hinted();
    let server = Server::builder().add_service(PeerServiceServer::new(PeerRpc::new(leader)));
    tasks.spawn("server", async move {
        let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
    });
    let hints = follower(address, &tasks);
    let queue = Hint::Scheduled(Some(QueueKey::from("gust")));
    // Before the task that passes them on has run: they wait together.
    for _ in 0..100 {
        hints.give(queue.clone());
    }
    hints.give(Hint::Ended(Some(job())));
    let mut seen = Vec::new();
    let all = async {
        while seen.len() < 2 {
            seen.extend(hinted());
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), all).await.expect("in time");
    assert_eq!(seen, [queue, Hint::Ended(Some(job()))]);
    tasks.stop().await;
}

#[tokio::test]
async fn a_leader_that_is_away_costs_the_hint_and_nothing_else() {
    let tasks = Tasks::default();
    let hints = follower("127.0.0.1:1".to_owned(), &tasks);
    for _ in 0..10 * DEPTH {
        hints.give(Hint::Scheduled(None));
    }
    tasks.stop().await;
}
