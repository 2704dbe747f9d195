//! Cases about records: order, durability, shape.

use std::collections::{BTreeSet, HashMap};

use super::*;

/// Records of one key come in the order of appending, also over many batches and partitions.
pub async fn records_of_a_key_come_in_order(h: &mut dyn Harness) {
    let topic = topic(h, 3).await;
    for round in 0..20 {
        let batch: Vec<_> = (0..10).map(|key| message(&format!("k{key}"), &format!("{round}"))).collect();
        h.log().append(&topic, &batch).await.unwrap();
    }
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_read(200).await;
    assert_keys_in_order(&reader.read, 10, 20);
}

fn assert_keys_in_order(read: &[(Partition, Received)], keys: usize, each: usize) {
    let mut by_key: HashMap<Bytes, Vec<(Partition, String)>> = HashMap::new();
    for (partition, record) in read {
        by_key.entry(record.message.key.clone().unwrap()).or_default().push((partition.clone(), text(record)));
    }
    assert_eq!(by_key.len(), keys);
    for (key, seen) in by_key {
        let values: Vec<usize> = seen.iter().map(|(_, value)| value.parse().unwrap()).collect();
        assert_eq!(values, (0..each).collect::<Vec<_>>(), "key {key:?}");
        assert!(seen.iter().all(|(partition, _)| *partition == seen[0].0), "key {key:?} is in several partitions");
    }
}

/// What `append` has acknowledged is there after a restart.
pub async fn a_batch_outlives_a_restart(h: &mut dyn Harness) {
    let topic = topic(h, 2).await;
    h.log().append(&topic, &numbered(500)).await.unwrap();
    h.reopen().await;
    h.log().append(&topic, &[message("later", "later")]).await.unwrap();
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_read(501).await;
    let mut expected: Vec<String> = (0..500).map(|n| n.to_string()).chain(["later".to_owned()]).collect();
    let mut texts = reader.texts();
    expected.sort();
    texts.sort();
    assert_eq!(texts, expected);
}

/// Keys, values and headers come back as they were: absent, empty, binary, repeated, 1 MiB.
pub async fn every_shape_of_message_comes_back(h: &mut dyn Harness) {
    let topic = topic(h, 1).await;
    let binary: Bytes = (0..=255).collect();
    let large: Bytes = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let header = |name: &str, value: &Bytes| (name.to_owned(), value.clone());
    let shapes = [
        Message::default(),
        Message { key: Some(Bytes::new()), value: Some(Bytes::new()), headers: vec![header("empty", &Bytes::new())] },
        Message { key: Some(binary.clone()), value: None, headers: vec![] },
        Message {
            key: None,
            value: Some(binary.clone()),
            headers: vec![header("b", &binary), header("a", &binary), header("b", &Bytes::new())],
        },
        Message { key: None, value: Some(large), headers: vec![header("n\u{e4}me", &binary)] },
    ];
    h.log().append(&topic, &shapes).await.unwrap();
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_read(shapes.len()).await;
    for (n, ((_, record), shape)) in reader.read.iter().zip(&shapes).enumerate() {
        assert!(record.message == *shape, "shape {n} differs");
        assert!(record.appended_at > 1_700_000_000_000_000, "shape {n} has no time");
    }
}

/// One subscription yields all its topics, each record under its own partition.
pub async fn several_topics_in_one_subscription(h: &mut dyn Harness) {
    let topics = [topic(h, 1).await, topic(h, 2).await, topic(h, 3).await];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut reader = Reader::join(h, "g", &names).await;
    reader.until_assigned(6).await;
    for topic in &topics {
        h.log().append(topic, &(0..30).map(|n| message(&n.to_string(), topic)).collect::<Vec<_>>()).await.unwrap();
    }
    reader.until_read(90).await;
    assert!(reader.read.iter().all(|(partition, record)| *partition.topic == *text(record)));
    let partitions: BTreeSet<&Partition> = reader.read.iter().map(|(partition, _)| partition).collect();
    assert_eq!(partitions.len(), 6, "keys are not spread over the partitions");
}

/// Eight producers at once: every message once, in the order of its key.
pub async fn eight_producers_lose_and_repeat_nothing(h: &mut dyn Harness) {
    let topic = topic(h, 4).await;
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    let mut producers = tokio::task::JoinSet::new();
    for key in 0..8 {
        let (log, topic) = (h.log(), topic.clone());
        producers.spawn(async move {
            for chunk in (0..1_000).collect::<Vec<_>>().chunks(20) {
                let batch: Vec<_> = chunk.iter().map(|n| message(&format!("k{key}"), &n.to_string())).collect();
                log.append(&topic, &batch).await.unwrap();
            }
        });
    }
    reader.until_read(8_000).await;
    producers.join_all().await;
    assert_keys_in_order(&reader.read, 8, 1_000);
    reader.stays_quiet().await;
}

/// A consumer that waits is woken by an append, without a polling delay worth naming.
pub async fn an_append_wakes_a_waiting_consumer(h: &mut dyn Harness) {
    let topic = topic(h, 1).await;
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_assigned(1).await;
    for n in 1..=5 {
        let (log, topic) = (h.log(), topic.clone());
        let append = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            log.append(&topic, &numbered(1)).await.unwrap();
            tokio::time::Instant::now()
        });
        reader.until_read(n).await;
        let seen = tokio::time::Instant::now();
        let late = seen.saturating_duration_since(append.await.unwrap());
        assert!(late < Duration::from_secs(1), "seen {late:?} after the append");
    }
}

/// A topic can be made sure of twice, not with more partitions; an unknown one is an error, not a new topic.
pub async fn a_topic_exists_or_is_an_error(h: &mut dyn Harness) {
    let name = topic(h, 2).await;
    let spec = |partitions| [TopicSpec { name: name.clone(), partitions, retention: Retention::Forever }];
    h.log().ensure_topics(&spec(2)).await.unwrap();
    h.log().ensure_topics(&spec(1)).await.unwrap();
    let refused = h.log().ensure_topics(&spec(3)).await.unwrap_err();
    assert!(refused.to_string().contains(&name), "{refused}");
    let missing = fresh("missing");
    assert!(h.log().append(&missing, &numbered(1)).await.is_err());
    assert!(h.log().subscribe("g", &[&missing]).await.is_err());
}

/// The view sees bounds and records, and moves no position.
pub async fn the_view_reads_without_taking_part(h: &mut dyn Harness) {
    let topic = topic(h, 1).await;
    h.log().append(&topic, &numbered(10)).await.unwrap();
    let partition = Partition { topic: topic.as_str().into(), index: 0 };
    let (states, positions) = h.view().state().await.unwrap();
    let state = states.iter().find(|s| s.partition == partition).unwrap();
    assert_eq!((state.begin, state.end), (0, 10));
    assert!(positions.iter().all(|p| p.partition != partition));
    let offsets = |records: Vec<Received>| records.iter().map(|r| r.offset).collect::<Vec<_>>();
    assert_eq!(offsets(h.view().read(&partition, 3, 4).await.unwrap()), [3, 4, 5, 6]);
    assert_eq!(offsets(h.view().read(&partition, 8, 4).await.unwrap()), [8, 9]);
    assert!(h.view().read(&partition, 10, 4).await.unwrap().is_empty());
}
