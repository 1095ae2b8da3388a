use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::*;

const SOON: Duration = Duration::from_secs(10);
const NEVER: Duration = Duration::from_millis(200);
const US: Party = Party::Replica(0);
const THEM: Party = Party::Member(0);

/// A connection of this process, which is `US`, through a relay to one that echoes.
async fn connected() -> (Network, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let network = Network::open();
    network.is(US, std::process::id());
    let relay = network.relay(THEM, listener.local_addr().unwrap()).unwrap();
    network.tasks.spawn("echo", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let stream = TcpStream::connect(relay).await.unwrap();
    (network, stream)
}

async fn echoed(stream: &mut TcpStream, within: Duration) -> Option<u8> {
    timeout(within, stream.read_u8()).await.ok().map(Result::unwrap)
}

#[tokio::test]
async fn what_is_held_arrives_when_the_way_is_open_again() {
    let (network, mut stream) = connected().await;
    stream.write_u8(1).await.unwrap();
    assert_eq!(echoed(&mut stream, SOON).await, Some(1));
    for (from, to) in [(US, THEM), (THEM, US)] {
        network.hold(from, to);
        stream.write_u8(2).await.unwrap();
        assert_eq!(echoed(&mut stream, NEVER).await, None);
        network.heal();
        assert_eq!(echoed(&mut stream, SOON).await, Some(2));
    }
}

#[tokio::test]
async fn what_is_late_arrives_late_and_in_order() {
    let (network, mut stream) = connected().await;
    network.slow(THEM, US, Duration::from_millis(300));
    let begun = Instant::now();
    stream.write_u8(1).await.unwrap();
    stream.write_u8(2).await.unwrap();
    assert_eq!(echoed(&mut stream, SOON).await, Some(1));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(echoed(&mut stream, SOON).await, Some(2));
}

#[tokio::test]
async fn an_end_is_told_to_the_other_side() {
    let (_network, mut stream) = connected().await;
    stream.write_u8(1).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(echoed(&mut stream, SOON).await, Some(1));
    let end = timeout(SOON, stream.read(&mut [0])).await.unwrap().unwrap();
    assert_eq!(end, 0);
}

#[tokio::test]
async fn others_are_not_cut_off_with_it() {
    let network = Network::open();
    let all = [US, THEM, Party::Replica(1), Party::Member(1)];
    network.cut_off(&[US, THEM], &all);
    let rules = network.rules.borrow();
    assert_eq!(rules.held.len(), 8);
    assert!(!rules.held.contains(&(US, THEM)));
    assert!(!rules.held.contains(&(Party::Replica(1), Party::Member(1))));
}

#[tokio::test]
async fn whom_nobody_listens_to_refuses_until_somebody_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let network = Network::open();
    network.is(US, std::process::id());
    let relay = network.relay(THEM, target).unwrap();
    drop(listener);
    let refused = async {
        while TcpStream::connect(relay).await.is_ok() {
            sleep(LOOK).await;
        }
    };
    timeout(SOON, refused).await.expect("nobody listens");
    let listener = TcpListener::bind(target).await.unwrap();
    network.tasks.spawn("echo", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut reader, mut writer) = stream.into_split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    let answered = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(relay).await
                && stream.write_u8(1).await.is_ok()
                && let Ok(1) = stream.read_u8().await
            {
                return;
            }
            sleep(LOOK).await;
        }
    };
    timeout(SOON, answered).await.expect("somebody listens");
}
