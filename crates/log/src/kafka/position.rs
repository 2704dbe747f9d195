//! Where reading a partition begins: what its group has committed in this very topic, else its beginning.
//!
//! With each position the topic's id is committed. A topic that was deleted and made again has another id, and an offset
//! that was committed in the old one says nothing: it is read from its beginning (what that repeats, the tables refuse).
//! An offset that the partition does not hold stops the group, with what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_stages::ports::{LogError, Partition};
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::cluster::{Cluster, Place};
use super::fault;
use super::native::TopicId;
use super::poller::Client;
use super::record;

/// The longest wait for a group's positions.
const ANSWER: Duration = Duration::from_secs(5);
/// What stands before a topic's id in the text beside a position.
const TOPIC: &str = "topic=";

/// Where an assignment begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) partition: Partition,
    pub(super) position: u64,
    /// What the group has committed in this topic; 0 where nothing.
    pub(super) committed: u64,
    pub(super) topic: TopicId,
}

/// The partitions of a list.
pub(super) fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|element| record::partition(element.topic(), element.partition())).collect()
}

/// Adds a position to a list that is to be committed.
pub(super) fn add(list: &mut TopicPartitionList, partition: &Partition, watermark: u64, topic: &str) {
    let (name, index) = record::place(partition);
    let mut element = list.add_partition(&name, index);
    element.set_metadata(format!("{TOPIC}{topic}"));
    // Cannot fail: the offset is not negative.
    let _ = element.set_offset(Offset::Offset(i64::try_from(watermark).unwrap_or(i64::MAX)));
}

/// Whether a position was committed in the topic that has this id now.
pub(super) fn is_of(beside: &str, topic: Option<&TopicId>) -> bool {
    match (beside.strip_prefix(TOPIC), topic) {
        (Some(committed), Some(now)) => committed == now,
        // A person has set it.
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// Finds out where reading these partitions begins; of some it may not be known yet (no leader, no topic).
pub(super) fn find(
    client: &Client,
    cluster: &Cluster,
    group: &str,
    list: &TopicPartitionList,
) -> Result<(Vec<Start>, Vec<Partition>), LogError> {
    let partitions = partitions(list);
    if partitions.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (committed, unknown) = committed(client, group, list)?;
    let mut names: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
    names.sort_unstable();
    names.dedup();
    let ids = cluster.ids(&names, ANSWER)?;
    let places: Vec<Place> = partitions.iter().map(record::place).collect();
    let bounds = cluster.bounds(&places)?;
    let (mut starts, mut unplaced) = (Vec::new(), Vec::new());
    for partition in partitions {
        let place = record::place(&partition);
        let (Some(topic), Some(bounds), false) = (ids.get(&place.0), bounds.get(&place), unknown.contains(&place)) else {
            tracing::warn!(group, topic = place.0, partition = place.1, "the partition has no leader, or is not there; it waits");
            unplaced.push(partition);
            continue;
        };
        let said = committed.get(&place);
        let position = begin(group, &partition, said, topic, *bounds)?;
        let committed = said.filter(|said| said.0 == position).map_or(0, |said| said.0);
        starts.push(Start { partition, position, committed, topic: topic.clone() });
    }
    Ok((starts, unplaced))
}

/// The group's positions by partition, each with the text beside it; and the partitions of which they cannot be told.
type Positions = (BTreeMap<Place, (u64, String)>, BTreeSet<Place>);

fn committed(client: &Client, group: &str, list: &TopicPartitionList) -> Result<Positions, LogError> {
    let asked = client.committed_offsets(list.clone(), ANSWER);
    let answered = asked.map_err(|error| fault::of_error("reading the positions of", group, &error))?;
    let (mut all, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for element in answered.elements() {
        if element.error().is_err() {
            unknown.insert((element.topic().to_owned(), element.partition()));
        } else if let Offset::Offset(offset) = element.offset() {
            let offset = u64::try_from(offset).unwrap_or(0);
            all.insert((element.topic().to_owned(), element.partition()), (offset, element.metadata().to_owned()));
        }
    }
    Ok((all, unknown))
}

/// Where reading begins, of what was committed, the topic's id, and the bounds of the partition.
fn begin(
    group: &str,
    partition: &Partition,
    committed: Option<&(u64, String)>,
    topic: &TopicId,
    (begin, end): (u64, u64),
) -> Result<u64, LogError> {
    let Some((offset, beside)) = committed else { return Ok(begin) };
    if !is_of(beside, Some(topic)) {
        tracing::warn!(group, topic = %partition.topic, partition = partition.index, "the topic was made anew; it is read from its beginning");
        return Ok(begin);
    }
    if (begin..=end).contains(offset) { Ok(*offset) } else { Err(out_of_range(group, partition, *offset, begin, end)) }
}

/// A group would go on at an offset that the partition does not hold.
pub(super) fn out_of_range(group: &str, partition: &Partition, offset: u64, begin: u64, end: u64) -> LogError {
    let why = if offset < begin {
        format!("the records from {offset} to {} were deleted before the group had read them (the topic's retention)", begin - 1)
    } else {
        "the partition has lost records (an unclean election, or a restored broker)".to_owned()
    };
    LogError::Fatal(format!(
        "the group {group} would go on at offset {offset} of {partition}, which holds {begin} to {end}: {why}; to go on with what \
         there is, stop the group and run kafka-consumer-groups --group {group} --topic {}:{} --reset-offsets --to-earliest --execute",
        partition.topic, partition.index
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(committed: Option<(u64, &str)>) -> Result<u64, LogError> {
        let committed = committed.map(|(offset, beside)| (offset, beside.to_owned()));
        begin("g", &record::partition("t", 3), committed.as_ref(), &"new".to_owned(), (10, 20))
    }

    #[test]
    fn reading_begins_where_the_group_is_in_this_very_topic_else_at_the_beginning() {
        assert_eq!(at(None), Ok(10));
        assert_eq!(at(Some((15, "topic=new"))), Ok(15));
        assert_eq!(at(Some((20, "topic=new"))), Ok(20));
        assert_eq!(at(Some((15, ""))), Ok(15), "a person has set it");
        assert_eq!(at(Some((15, "topic=old"))), Ok(10), "it is of another topic of this name");
    }

    #[test]
    fn what_the_partition_does_not_hold_stops_with_the_remedy() {
        for offset in [9, 21] {
            let Err(LogError::Fatal(said)) = at(Some((offset, "topic=new"))) else { panic!("{offset} was taken") };
            assert!(said.contains("10 to 20") && said.contains("--reset-offsets"), "{said}");
        }
    }
}
