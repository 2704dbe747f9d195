//! What only a log on Kafka meets: brokers that go away, topics made anew, offsets that are gone, rights that are missing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::secret::Secret;
use longshore_log::kafka::{GroupProtocol, KafkaLog, Settings};
use longshore_sim::services::kafka::{self, Broker};
use longshore_stages::ports::{Consumer, Delivery, Epoch, Log, LogError, LogView, Message, Partition, Retention, TopicSpec};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(address: &str, properties: &[(&str, &str)]) -> Settings {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    Settings { properties, group_prefix: format!("t{}", uuid::Uuid::new_v4()), ..Settings::new(address) }
}

fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention: Retention::UntilCommitted(Vec::new()) }
}

fn topic() -> String {
    format!("topic-{}", uuid::Uuid::new_v4())
}

fn numbered(range: std::ops::Range<usize>) -> Vec<Message> {
    let message = |n: usize| {
        let text = Bytes::from(n.to_string());
        Message { key: Some(text.clone()), value: Some(text), headers: Vec::new() }
    };
    range.map(message).collect()
}

/// The next delivery, with transient errors left out: the library goes on by itself.
async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    let begun = Instant::now();
    loop {
        match timeout(PATIENCE, consumer.next()).await.expect("nothing was delivered") {
            Ok(delivery) => return delivery,
            Err(LogError::Unavailable(_)) if begun.elapsed() < PATIENCE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until so many different values have come; answers assignments and revocations on the way.
async fn read(consumer: &mut Box<dyn Consumer>, count: usize) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    while values.len() < count {
        match next(consumer).await {
            Delivery::Records { records, .. } => {
                values.extend(records.iter().map(|r| String::from_utf8(r.message.value.clone().unwrap().to_vec()).unwrap()));
            }
            Delivery::Revoked { partition, epoch } => consumer.release(&partition, epoch).await.unwrap(),
            Delivery::Assigned { .. } => {}
        }
    }
    values
}

/// The assignment of the only partition.
async fn assigned(consumer: &mut Box<dyn Consumer>) -> (Partition, Epoch, u64) {
    loop {
        match next(consumer).await {
            Delivery::Assigned { partition, epoch, position } => return (partition, epoch, position),
            Delivery::Revoked { partition, epoch } => consumer.release(&partition, epoch).await.unwrap(),
            Delivery::Records { .. } => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_costs_time_only() {
    let mut broker = tokio::task::spawn_blocking(Broker::start).await.unwrap();
    let log = KafkaLog::new(settings(broker.address(), &[])).unwrap();
    let topic = topic();
    log.ensure_topics(&[spec(&topic, 2)]).await.unwrap();
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    log.append(&topic, &numbered(0..100)).await.unwrap();
    assert_eq!(read(&mut consumer, 100).await.len(), 100);

    broker.kill();
    let appending = {
        let (log, topic) = (log.clone(), topic.clone());
        tokio::spawn(async move {
            let mut tries = 0;
            // As a stage does: what came back is appended again, whole.
            while let Err(error) = log.append(&topic, &numbered(100..200)).await {
                assert!(matches!(error, LogError::Unavailable(_)), "{error}");
                tries += 1;
                assert!(tries < 10, "{error}");
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    let broker = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    });
    let _broker = broker.await.unwrap();
    // What was not committed may come again.
    let (wanted, mut seen): (BTreeSet<String>, _) = ((100..200).map(|n| n.to_string()).collect(), BTreeSet::new());
    while !seen.is_superset(&wanted) {
        seen.append(&mut read(&mut consumer, 1).await);
    }
    timeout(PATIENCE, appending).await.expect("the append ends").unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_busy_for_longer_than_a_session_stays_a_member() {
    let address = tokio::task::spawn_blocking(|| kafka::shared().address().to_owned()).await.unwrap();
    let short = [("session.timeout.ms", "3000"), ("max.poll.interval.ms", "4000")];
    let log = KafkaLog::new(settings(&address, &short)).unwrap();
    let topic = topic();
    log.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    let (partition, epoch, _) = assigned(&mut consumer).await;
    consumer.pause(&partition);
    log.append(&topic, &numbered(0..5_000)).await.unwrap();
    // Neither `next` nor anything else is called meanwhile.
    tokio::time::sleep(Duration::from_secs(9)).await;
    consumer.resume(&partition);
    let mut seen = 0;
    while seen < 5_000 {
        match next(&mut consumer).await {
            Delivery::Records { records, epoch: of, .. } => {
                assert_eq!(of, epoch, "it was expelled, and had to join again");
                seen += records.len();
            }
            other => panic!("it was expelled: {other:?}"),
        }
    }
    consumer.commit(&partition, epoch, 5_000).await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_is_read_from_its_beginning_by_who_runs_and_by_who_starts() {
    let broker = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    let settings = settings(broker.address(), &[]);
    let log = KafkaLog::new(settings.clone()).unwrap();
    let topic = topic();
    log.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    log.append(&topic, &numbered(0..50)).await.unwrap();
    let mut runs = log.subscribe("runs", &[&topic]).await.unwrap();
    let mut starts = log.subscribe("starts", &[&topic]).await.unwrap();
    for consumer in [&mut runs, &mut starts] {
        let (partition, epoch, _) = assigned(consumer).await;
        read(consumer, 50).await;
        consumer.commit(&partition, epoch, 50).await.unwrap();
    }
    starts.close().await.unwrap();

    broker.topics(&["--delete", "--topic", &topic]);
    let spec = [spec(&topic, 1)];
    let begun = Instant::now();
    // The old one goes in its own time; meanwhile its name is taken.
    while log.ensure_topics(&spec).await.is_err() || log.append(&topic, &numbered(100..101)).await.is_err() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // More than there was: an offset alone would not tell.
    log.append(&topic, &numbered(101..300)).await.unwrap();
    let all: BTreeSet<String> = (100..300).map(|n| n.to_string()).collect();
    assert_eq!(read(&mut runs, 200).await, all, "by who runs");
    let again = KafkaLog::new(settings).unwrap();
    let mut starts = again.subscribe("starts", &[&topic]).await.unwrap();
    assert_eq!(assigned(&mut starts).await.2, 0, "what was committed in the old topic says nothing");
    assert_eq!(read(&mut starts, 200).await, all, "by who starts");
}

/// The position lies beyond the end of the new topic: the broker refuses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_with_less_than_was_read_is_read_from_its_beginning_too() {
    let broker = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    let log = KafkaLog::new(settings(broker.address(), &[])).unwrap();
    let topic = topic();
    let spec = [spec(&topic, 2)];
    log.ensure_topics(&spec).await.unwrap();
    log.append(&topic, &numbered(0..200)).await.unwrap();
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    let (first, second) = (assigned(&mut consumer).await, assigned(&mut consumer).await);
    read(&mut consumer, 200).await;
    broker.topics(&["--delete", "--topic", &topic]);
    let begun = Instant::now();
    while log.ensure_topics(&spec).await.is_err() || log.append(&topic, &numbered(300..340)).await.is_err() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let all: BTreeSet<String> = (300..340).map(|n| n.to_string()).collect();
    assert_eq!(read(&mut consumer, 40).await, all);
    consumer.commit(&first.0, first.1, 100).await.unwrap();
    consumer.commit(&second.0, second.1, 100).await.unwrap();
    consumer.close().await.unwrap();
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    let positions = [assigned(&mut consumer).await.2, assigned(&mut consumer).await.2];
    assert_eq!(positions, [0, 0], "what is said under the old assignments changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_read_from_their_beginning() {
    let broker = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    let log = KafkaLog::new(settings(broker.address(), &[])).unwrap();
    let topic = topic();
    log.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    assigned(&mut consumer).await;
    broker.topics(&["--alter", "--topic", &topic, "--partitions", "4"]);
    // Appended by a client that knows the new ones, before the group does.
    let fresh = KafkaLog::new(settings(broker.address(), &[])).unwrap();
    fresh.append(&topic, &numbered(0..200)).await.unwrap();
    assert_eq!(read(&mut consumer, 200).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_were_deleted_unread_stop_the_group_with_what_to_do() {
    let broker = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    let settings = settings(broker.address(), &[]);
    let log = KafkaLog::new(settings.clone()).unwrap();
    let topic = topic();
    log.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    log.append(&topic, &numbered(0..100)).await.unwrap();
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    let (partition, epoch, _) = assigned(&mut consumer).await;
    consumer.commit(&partition, epoch, 10).await.unwrap();
    consumer.close().await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("offsets.json");
    let offsets = format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":60}}],"version":1}}"#);
    std::fs::write(&file, offsets).unwrap();
    broker.tool("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", file.to_str().unwrap()]);
    let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
    let said = timeout(PATIENCE, consumer.next()).await.expect("an answer").expect_err("it went on").to_string();
    for word in ["offset 10", "holds 60 to 100", "--reset-offsets --to-earliest", &settings.group("g")] {
        assert!(said.contains(word), "'{word}' is missing: {said}");
    }
}

/// A broker that asks who one is, beside the door that its own tools use; returns the address that asks.
fn guarded() -> (Broker, tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let extra = format!(
        "listeners=PLAINTEXT://127.0.0.1:@PORT@,CONTROLLER://127.0.0.1:@CONTROLLER@,GUARDED://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN\n\
         listener.name.guarded.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_boss=\"boss-secret\" user_guest=\"guest-secret\";\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS;User:boss\n"
    );
    std::fs::write(directory.path().join("extra.properties"), extra).unwrap();
    let broker = Broker::start_in(directory.path());
    (broker, directory, format!("127.0.0.1:{port}"))
}

fn as_user(address: &str, user: &str, password: &str) -> KafkaLog {
    let who = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    KafkaLog::new(settings(address, &who)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_rights_or_is_not_known_is_told_so() {
    let (_broker, _directory, address) = tokio::task::spawn_blocking(guarded).await.unwrap();
    let boss = as_user(&address, "boss", "boss-secret");
    let topic = topic();
    boss.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    boss.append(&topic, &numbered(0..10)).await.unwrap();

    let guest = as_user(&address, "guest", "guest-secret");
    let refused = guest.append(&topic, &numbered(0..1)).await.unwrap_err();
    assert!(matches!(&refused, LogError::Fatal(said) if said.contains("right") && said.contains(&topic)), "{refused}");
    let refused = guest.subscribe("g", &[&topic]).await.err().expect("it joined");
    assert!(matches!(&refused, LogError::Fatal(said) if said.contains("right") && said.contains(&topic)), "{refused}");

    let stranger = as_user(&address, "boss", "wrong");
    let refused = stranger.topics(Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(&refused, LogError::Fatal(said) if said.contains("sasl.password") && !said.contains("wrong")), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_the_same_name_is_told_so() {
    let address = tokio::task::spawn_blocking(|| kafka::shared().address().to_owned()).await.unwrap();
    let mut settings = settings(&address, &[]);
    settings.instance_id = Some("worker-1".to_owned());
    let (first, second) = (KafkaLog::new(settings.clone()).unwrap(), KafkaLog::new(settings.clone()).unwrap());
    let topic = topic();
    first.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    let mut one = first.subscribe("g", &[&topic]).await.unwrap();
    assigned(&mut one).await;
    let mut other = second.subscribe("g", &[&topic]).await.unwrap();
    assigned(&mut other).await;
    let said = loop {
        match timeout(PATIENCE, one.next()).await.expect("it is not told") {
            Err(LogError::Fatal(said)) => break said,
            Ok(Delivery::Revoked { partition, epoch }) => one.release(&partition, epoch).await.unwrap(),
            _ => {}
        }
    };
    assert!(said.contains("kafka.instance_id"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_onlooker_sees_what_a_group_has_committed_in_this_very_topic() {
    let broker = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let settings = Settings { protocol, ..settings(broker.address(), &[]) };
        let log = KafkaLog::new(settings).unwrap();
        let topic = topic();
        log.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
        log.append(&topic, &numbered(0..20)).await.unwrap();
        let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
        let (partition, epoch, _) = assigned(&mut consumer).await;
        consumer.commit(&partition, epoch, 7).await.unwrap();
        let mine = topic.clone();
        let view = log.view(Box::new(move |topic| if topic == mine { vec!["g".to_owned()] } else { Vec::new() }));
        let (partitions, positions) = view.state().await.unwrap();
        assert_eq!((partitions.len(), partitions[0].begin, partitions[0].end), (1, 0, 20));
        assert_eq!((positions.len(), positions[0].committed, positions[0].group.as_str()), (1, 7, "g"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owes_the_group_an_answer_can_leave_all_the_same() {
    let broker = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let log = KafkaLog::new(Settings { protocol, ..settings(broker.address(), &[]) }).unwrap();
        let topic = topic();
        log.ensure_topics(&[spec(&topic, 2)]).await.unwrap();
        let mut consumer = log.subscribe("g", &[&topic]).await.unwrap();
        assigned(&mut consumer).await;
        // All that it has is taken away, and it never answers.
        broker.topics(&["--delete", "--topic", &topic]);
        while !matches!(next(&mut consumer).await, Delivery::Revoked { .. }) {}
        let begun = Instant::now();
        consumer.close().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(8), "{protocol:?}: leaving took {:?}", begun.elapsed());
    }
}
