//! The broker that tests get: it keeps what it acknowledged, and never outlives who started it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_sim::services::kafka::{Broker, shared};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};

const MINUTE: Duration = Duration::from_secs(60);

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("group.id", "test").set("acks", "all");
    config.set("auto.offset.reset", "earliest").set("allow.auto.create.topics", "false");
    config
}

async fn create(broker: &Broker, topic: &str) {
    let admin: AdminClient<_> = client(broker).create().expect("an admin client");
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(MINUTE))).await.expect("an answer");
    assert_eq!(made, [Ok(topic.to_owned())]);
}

async fn produce(broker: &Broker, topic: &str, value: &str) {
    let producer: FutureProducer = client(broker).create().expect("a producer");
    producer.send(FutureRecord::<(), str>::to(topic).payload(value), MINUTE).await.expect("acknowledged");
}

async fn first(broker: &Broker, topic: &str) -> Vec<u8> {
    let consumer: StreamConsumer = client(broker).create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    let received = tokio::time::timeout(MINUTE, consumer.recv()).await.expect("within a minute").expect("a record");
    received.payload().expect("a value").to_owned()
}

/// Whether a process is there and is no corpse.
fn lives(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn gone_within(pid: u32, limit: Duration) -> bool {
    let begun = Instant::now();
    while lives(pid) && begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
    !lives(pid)
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let mut broker = Broker::start();
    create(&broker, "t").await;
    produce(&broker, "t", "kept").await;
    let (address, pid) = (broker.address().to_owned(), broker.pid().expect("it runs"));
    broker.kill();
    assert!(!lives(pid), "killed");
    assert_eq!(broker.pid(), None);
    broker.restart();
    assert_eq!(broker.address(), address);
    assert_eq!(first(&broker, "t").await, b"kept");
    let (directory, pid) = (broker.directory().to_owned(), broker.pid().expect("it runs"));
    drop(broker);
    assert!(!lives(pid), "dropped");
    assert!(!directory.exists(), "{} is left", directory.display());
}

#[tokio::test]
async fn a_stop_in_order_and_kafkas_own_tools() {
    let mut broker = Broker::start();
    broker.topics(&["--create", "--topic", "made-by-tool", "--partitions", "3"]);
    broker.restart();
    assert_eq!(broker.topics(&["--list"]).trim(), "made-by-tool");
    let groups = broker.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &["--list"]);
    assert_eq!(groups.trim(), "");
    let pid = broker.pid().expect("it runs");
    broker.stop();
    assert!(!lives(pid));
}

#[test]
fn a_broker_ends_with_a_test_that_is_killed() {
    let (mut test, pid, directory) = another_process_with_a_broker();
    assert!(lives(pid));
    test.kill().expect("killed");
    test.wait().expect("waited for");
    assert!(gone_within(pid, Duration::from_secs(20)), "java {pid} is left");
    let begun = Instant::now();
    while Path::new(&directory).exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{directory} is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// This test program once more, with the next test alone; the broker's process id and directory, which it prints.
fn another_process_with_a_broker() -> (Child, u32, String) {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args(["--exact", "holds_a_broker_until_killed", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let told = lines.into_iter().find_map(|line| line.strip_prefix("holds ").map(str::to_owned)).expect("a broker");
    let (pid, directory) = told.split_once(' ').expect("two words");
    (child, pid.parse().expect("a number"), directory.to_owned())
}

#[test]
#[ignore = "the test above runs it, in a process that it kills"]
fn holds_a_broker_until_killed() {
    let broker = shared();
    assert!(std::ptr::eq(broker, shared()), "one for the process");
    println!("\nholds {} {}", broker.pid().expect("it runs"), broker.directory().display());
    std::thread::sleep(5 * MINUTE);
}
