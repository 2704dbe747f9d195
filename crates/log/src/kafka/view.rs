//! Looking at the log without taking part: no group is joined, nothing is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use longshore_stages::ports::{LogError, LogView, Partition, PartitionState, Position, Received};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::cluster::{ANSWER, Cluster, Place, made};
use super::context::Told;
use super::record::Copier;
use super::settings::Settings;
use super::{fault, record};
use crate::catalog::locked;

/// A read returns at most about this many bytes, whatever its `max`; read on from the last offset.
const READ_BYTES: usize = 16 << 20;
/// How long a read waits for a record that is there.
const RECORD: Duration = Duration::from_secs(10);

/// Which groups read a topic; none for a topic that is not looked at.
pub type Readers = dyn Fn(&str) -> Vec<String> + Send + Sync;

/// The log on Kafka as an onlooker sees it: the topics that have readers, and their readers' positions.
pub struct KafkaView {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    cluster: Arc<Cluster>,
    readers: Box<Readers>,
    /// The clients that ask for positions, by their group: the library's way to ask for another's breaks down now and then,
    /// when the group's coordinator moves or does not answer.
    asking: Mutex<BTreeMap<String, BaseConsumer<Told>>>,
    reading: Mutex<Option<Reading>>,
}

/// The client that reads, and where it stands.
struct Reading {
    client: BaseConsumer<Told>,
    at: Option<(Partition, u64)>,
}

impl KafkaView {
    pub(super) fn new(settings: Settings, cluster: Arc<Cluster>, readers: Box<Readers>) -> Self {
        KafkaView { inner: Arc::new(Inner { settings, cluster, readers, asking: Mutex::default(), reading: Mutex::new(None) }) }
    }
}

#[async_trait]
impl LogView for KafkaView {
    async fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
        let inner = self.inner.clone();
        super::blocking(move || inner.state()).await
    }

    async fn read(&self, partition: &Partition, from: u64, max: usize) -> Result<Vec<Received>, LogError> {
        let (inner, partition) = (self.inner.clone(), partition.clone());
        super::blocking(move || inner.read(&partition, from, max)).await
    }
}

impl Inner {
    /// Positions first: a position is never ahead of the bounds that are read after it.
    fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
        let topics = self.cluster.topics(ANSWER)?;
        let mine: BTreeMap<&String, Vec<String>> =
            topics.keys().map(|topic| (topic, (self.readers)(topic))).filter(|(_, groups)| !groups.is_empty()).collect();
        let groups: BTreeSet<&String> = mine.values().flatten().collect();
        let ids = self.cluster.ids(&mine.keys().map(|topic| topic.as_str()).collect::<Vec<_>>(), ANSWER)?;
        let mut positions = Vec::new();
        for group in groups {
            let read = mine.iter().filter(|(_, readers)| readers.contains(group)).map(|(topic, _)| *topic);
            let places = read.flat_map(|topic| topics[topic].iter().map(|index| (topic.clone(), *index)));
            positions.extend(self.positions(group, &places.collect::<Vec<_>>(), &ids)?);
        }
        let places: Vec<Place> =
            mine.keys().flat_map(|topic| topics[*topic].iter().map(|index| ((*topic).clone(), *index))).collect();
        let state = |((topic, index), (begin, end)): (Place, (u64, u64))| PartitionState {
            partition: record::partition(&topic, index),
            begin,
            end,
        };
        Ok((self.cluster.bounds(&places)?.into_iter().map(state).collect(), positions))
    }

    /// What a group has committed in topics that are still the ones that it read.
    fn positions(&self, group: &str, places: &[Place], ids: &BTreeMap<String, String>) -> Result<Vec<Position>, LogError> {
        let whole = self.settings.group(group);
        let failed = |error: KafkaError| fault::of_error("reading the positions of", &whole, &error);
        let mut list = TopicPartitionList::with_capacity(places.len());
        for (topic, index) in places {
            list.add_partition(topic, *index);
        }
        let mut asking = locked(&self.asking);
        let client = match asking.remove(&whole) {
            Some(client) => client,
            None => made(&self.settings.brokers, self.settings.onlooker_at(&whole).create_with_context(Told::default()))?,
        };
        // What the client says unasked waits in its queue until somebody hears it.
        while client.poll(Duration::ZERO).is_some() {}
        let committed = client.committed_offsets(list, ANSWER).map_err(failed)?;
        let mut positions = Vec::new();
        for element in committed.elements() {
            match element.error() {
                // It was deleted just now.
                Err(error) if error.rdkafka_error_code() == Some(Code::UnknownTopicOrPartition) => continue,
                other => other.map_err(failed)?,
            }
            if let Offset::Offset(offset) = element.offset()
                && super::position::is_of(element.metadata(), ids.get(element.topic()))
            {
                let partition = record::partition(element.topic(), element.partition());
                positions.push(Position { group: group.to_owned(), partition, committed: u64::try_from(offset).unwrap_or(0) });
            }
        }
        asking.insert(whole.clone(), client);
        Ok(positions)
    }

    fn read(&self, partition: &Partition, from: u64, max: usize) -> Result<Vec<Received>, LogError> {
        let place = record::place(partition);
        let bounds = self.cluster.bounds(std::slice::from_ref(&place))?;
        let Some((begin, end)) = bounds.get(&place).copied() else { return Err(fault::no_topic(&place.0)) };
        let from = from.max(begin);
        if from >= end || max == 0 {
            return Ok(Vec::new());
        }
        let mut reading = locked(&self.reading);
        let mut here = match reading.take() {
            Some(reading) => reading,
            None => Reading::new(&self.settings)?,
        };
        here.seek(partition, from)?;
        let read = here.read(partition, from, end, max);
        if read.is_ok() {
            *reading = Some(here);
        }
        read
    }
}

impl Reading {
    fn new(settings: &Settings) -> Result<Self, LogError> {
        let client = made(&settings.brokers, settings.onlooker().create_with_context(Told::default()))?;
        Ok(Reading { client, at: None })
    }

    /// Goes to an offset, unless it is where the last read has ended.
    fn seek(&mut self, partition: &Partition, from: u64) -> Result<(), LogError> {
        if self.at.as_ref().is_some_and(|(at, next)| at == partition && *next == from) {
            return Ok(());
        }
        let (topic, index) = record::place(partition);
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        let failed = |error: KafkaError| fault::of_error("reading", &topic, &error);
        list.add_partition_offset(&topic, index, offset).map_err(failed)?;
        self.client.assign(&list).map_err(failed)?;
        self.at = Some((partition.clone(), from));
        Ok(())
    }

    fn read(&mut self, partition: &Partition, from: u64, end: u64, max: usize) -> Result<Vec<Received>, LogError> {
        let (mut records, mut bytes, mut copier, until) = (Vec::new(), 0, Copier::default(), Instant::now() + RECORD);
        let mut next = from;
        while records.len() < max && bytes < READ_BYTES && next < end {
            match self.client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let received = copier.received(&message);
                    if received.offset >= next && *partition.topic == *rdkafka::Message::topic(&message) {
                        next = received.offset + 1;
                        bytes += received.message.bytes();
                        records.push(received);
                    }
                }
                // What is left are marks of transactions.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at = None;
                    return Ok(records);
                }
                Some(Err(error)) => tracing::debug!(%error, %partition, "reading"),
                None => {}
            }
            if Instant::now() >= until {
                self.at = None;
                return match records.is_empty() {
                    true => Err(LogError::Unavailable(format!("{partition} on Kafka gave no record from {next} on in time"))),
                    false => Ok(records),
                };
            }
        }
        self.at = Some((partition.clone(), next));
        Ok(records)
    }
}
