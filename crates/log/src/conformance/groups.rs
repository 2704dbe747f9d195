//! Cases about groups: positions, assignments, epochs, pausing.

use std::collections::BTreeSet;

use super::*;

/// What one group commits does not move another.
pub async fn positions_of_groups_are_apart(h: &mut dyn Harness) {
    let topic = topic(h, 1).await;
    h.log().append(&topic, &numbered(10)).await.unwrap();
    let mut first = Reader::join(h, "first", &[&topic]).await;
    first.until_read(10).await;
    first.commit_all().await;
    let mut second = Reader::join(h, "second", &[&topic]).await;
    second.until_read(10).await;
    let partition = second.read[0].0.clone();
    assert_eq!(committed(h, "first", &partition).await, Some(10));
    assert_eq!(committed(h, "second", &partition).await, None);
}

/// A group that never committed reads from the beginning, not from the end.
pub async fn without_a_position_reading_begins_at_the_beginning(h: &mut dyn Harness) {
    let topic = topic(h, 2).await;
    h.log().append(&topic, &numbered(50)).await.unwrap();
    h.reopen().await;
    let mut reader = Reader::join(h, "new", &[&topic]).await;
    reader.until_read(50).await;
    assert!(reader.assigned.values().all(|(_, position)| *position == 0));
}

/// After a restart reading goes on at the committed position: neither later nor earlier.
pub async fn what_was_not_committed_comes_again(h: &mut dyn Harness) {
    let topic = topic(h, 1).await;
    h.log().append(&topic, &numbered(10)).await.unwrap();
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_read(10).await;
    let partition = reader.read[0].0.clone();
    let (epoch, _) = reader.assigned[&partition];
    reader.consumer.commit(&partition, epoch, 4).await.unwrap();
    drop(reader);
    h.reopen().await;
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_read(6).await;
    assert_eq!(reader.assigned[&partition].1, 4);
    assert_eq!(reader.texts(), ["4", "5", "6", "7", "8", "9"]);
}

/// A lower watermark leaves the position where it is, now and after a restart.
pub async fn a_position_never_moves_back(h: &mut dyn Harness) {
    let topic = topic(h, 1).await;
    h.log().append(&topic, &numbered(10)).await.unwrap();
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_read(10).await;
    let partition = reader.read[0].0.clone();
    let (epoch, _) = reader.assigned[&partition];
    for watermark in [7, 3, 0] {
        reader.consumer.commit(&partition, epoch, watermark).await.unwrap();
    }
    assert_eq!(committed(h, "g", &partition).await, Some(7));
    drop(reader);
    h.reopen().await;
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    reader.until_assigned(1).await;
    assert_eq!(reader.assigned[&partition].1, 7);
}

/// Commits and releases under an epoch that has ended are accepted and change nothing.
pub async fn a_stale_epoch_changes_nothing(h: &mut dyn Harness) {
    let topic = topic(h, 2).await;
    h.log().append(&topic, &numbered(40)).await.unwrap();
    let mut old = Reader::join(h, "g", &[&topic]).await;
    old.until_read(40).await;
    let mut new = Reader::join(h, "g", &[&topic]).await;
    let (moved, stale) = old.until_revoked().await;
    old.consumer.release(&moved, stale).await.unwrap();
    new.until_assigned(1).await;

    old.consumer.commit(&moved, stale, 5).await.unwrap();
    new.consumer.commit(&moved, stale, 5).await.unwrap();
    assert_eq!(committed(h, "g", &moved).await, None, "a stale commit moved the position");
    old.consumer.release(&moved, stale).await.unwrap();
    new.consumer.release(&moved, stale).await.unwrap();
    old.stays_quiet().await;
    old.stays_quiet().await;
    let (epoch, _) = new.assigned[&moved];
    new.consumer.commit(&moved, epoch, 1).await.unwrap();
    assert_eq!(committed(h, "g", &moved).await, Some(1), "a stale release took the partition away");
}

/// A partition moves to a newcomer only after its holder has let go of it: with a higher epoch, at the committed position.
pub async fn a_newcomer_waits_for_the_release(h: &mut dyn Harness) {
    let topic = topic(h, 2).await;
    h.log().append(&topic, &numbered(40)).await.unwrap();
    let mut old = Reader::join(h, "g", &[&topic]).await;
    old.until_read(40).await;
    let mut new = Reader::join(h, "g", &[&topic]).await;
    let (moved, epoch) = old.until_revoked().await;
    new.stays_quiet().await;
    h.log().append(&topic, &numbered(40)).await.unwrap();
    old.while_it_lasts().await;
    assert!(old.read.iter().skip(40).all(|(partition, _)| *partition != moved), "records after the revocation");

    old.consumer.commit(&moved, epoch, 7).await.unwrap();
    old.consumer.release(&moved, epoch).await.unwrap();
    old.until_read(40 + of_others(h, &moved, &topic).await).await;
    assert!(old.read.iter().skip(40).all(|(partition, _)| *partition != moved), "records after the release");
    new.until_assigned(1).await;
    let (later, position) = new.assigned[&moved];
    assert!(later > epoch, "{later:?} is not above {epoch:?}");
    assert_eq!(position, 7);
    new.next().await;
    assert_eq!(new.read[0].1.offset, 7);
}

/// How many of the second 40 records went to other partitions than this one.
async fn of_others(h: &dyn Harness, moved: &Partition, topic: &str) -> usize {
    let (states, _) = h.view().state().await.unwrap();
    let others = states.iter().filter(|s| *s.partition.topic == *topic && s.partition != *moved);
    others.map(|s| s.end as usize / 2).sum()
}

/// A consumer that closes leaves its partitions to the others.
pub async fn closing_gives_the_partitions_back(h: &mut dyn Harness) {
    gives_back(h, true).await;
}

/// So does one that is dropped.
pub async fn dropping_gives_the_partitions_back(h: &mut dyn Harness) {
    gives_back(h, false).await;
}

async fn gives_back(h: &mut dyn Harness, politely: bool) {
    let topic = topic(h, 3).await;
    let mut leaver = Reader::join(h, "g", &[&topic]).await;
    leaver.until_assigned(3).await;
    let highest = leaver.assigned.values().map(|(epoch, _)| *epoch).max().unwrap();
    let mut stayer = Reader::join(h, "g", &[&topic]).await;
    stayer.stays_quiet().await;
    let consumer = leaver.consumer;
    if politely {
        consumer.close().await.unwrap()
    } else {
        drop(consumer)
    }
    stayer.until_assigned(3).await;
    assert!(stayer.assigned.values().all(|(epoch, _)| *epoch > highest));
    h.log().append(&topic, &numbered(30)).await.unwrap();
    stayer.until_read(30).await;
}

/// A paused partition yields nothing while others flow; resumed, it goes on where it was.
pub async fn a_paused_partition_is_silent_and_loses_nothing(h: &mut dyn Harness) {
    let topics = [topic(h, 1).await, topic(h, 1).await];
    let mut reader = Reader::join(h, "g", &[&topics[0], &topics[1]]).await;
    reader.until_assigned(2).await;
    h.log().append(&topics[0], &numbered(10)).await.unwrap();
    reader.until_read(10).await;
    let paused = reader.read[0].0.clone();
    reader.consumer.pause(&paused);
    h.log().append(&topics[0], &numbered(5)).await.unwrap();
    h.log().append(&topics[1], &numbered(20)).await.unwrap();
    reader.until_read(30).await;
    assert!(reader.read[10..].iter().all(|(partition, _)| *partition != paused));
    reader.stays_quiet().await;
    reader.consumer.resume(&paused);
    reader.until_read(35).await;
    let offsets: Vec<u64> = reader.read[30..].iter().map(|(_, record)| record.offset).collect();
    assert_eq!(offsets, [10, 11, 12, 13, 14]);
}

/// However many partitions are paused while their records are at hand, the others flow.
pub async fn paused_partitions_hold_up_no_other(h: &mut dyn Harness) {
    let topics = [topic(h, 1).await, topic(h, 1).await, topic(h, 1).await, topic(h, 1).await];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for name in &names {
        for _ in 0..10 {
            h.log().append(name, &numbered(1_000)).await.unwrap();
        }
    }
    let mut reader = Reader::join(h, "g", &names).await;
    reader.until_assigned(4).await;
    // Whatever the log reads ahead is of any of them.
    tokio::time::sleep(QUIET * 5).await;
    let [flows, others @ ..] = [3, 0, 1, 2].map(|n: usize| Partition { topic: names[n].into(), index: 0 });
    others.iter().for_each(|other| reader.consumer.pause(other));
    let of_it = |reader: &Reader| reader.read.iter().filter(|(partition, _)| *partition == flows).count();
    while of_it(&reader) < 10_000 {
        reader.next().await;
    }
    for name in &names {
        reader.consumer.resume(&Partition { topic: (*name).into(), index: 0 });
    }
    reader.until_read(40_000).await;
}

/// Dropping the future of `next` at any moment loses and doubles nothing, assignments included.
pub async fn next_may_be_cancelled(h: &mut dyn Harness) {
    let topic = topic(h, 2).await;
    let mut reader = Reader::join(h, "g", &[&topic]).await;
    let (log, name) = (h.log(), topic.clone());
    let producer = tokio::spawn(async move {
        for n in 0..300 {
            log.append(&name, &[message(&n.to_string(), &n.to_string())]).await.unwrap();
        }
    });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut waits = (0..50).cycle();
    while reader.read.len() < 300 {
        assert!(tokio::time::Instant::now() < deadline, "only {} of 300 came", reader.read.len());
        let wait = Duration::from_micros(waits.next().unwrap() * 20);
        let delivery = tokio::select! {
            biased;
            delivery = reader.consumer.next() => delivery.unwrap(),
            () = tokio::time::sleep(wait) => continue,
        };
        reader.note(&delivery);
    }
    producer.await.unwrap();
    let distinct: BTreeSet<String> = reader.texts().into_iter().collect();
    assert_eq!((distinct.len(), reader.read.len()), (300, 300));
    reader.stays_quiet().await;
}
