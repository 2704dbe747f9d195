//! The thread of a group's member: it keeps the member in its group whatever its stage is busy with.
//!
//! *Owns*: the client, its partitions and their queues, when a rebalance is answered. *Does not own*: what the records
//! mean, nor when to commit (the stage asks), nor where reading begins ([`super::position`]).
//!
//! ```text
//! group ─▶ Assign ─▶ positions are found ─▶ taken over ─▶ flowing ─▶ Revoke ─▶ ending ─ released, or the grace is over ─▶ given up
//!                                                            └─ lost (the session ended) ─▶ given up at once
//! ```
//! Each partition has a queue of its own in the client, so that a partition which is paused costs nothing: nobody polls its
//! queue, while the thread goes on answering the group. What the stage has not taken is bounded: two batches here, and in the
//! client a number of bytes for each partition.
//! Promises: 3 (commits are the stage's watermarks, under the assignment they belong to), 4, 5.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use longshore_stages::ports::{Delivery, Epoch, LogError, Partition, Received};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::context::{CommitEnd, MemberContext, Rebalance, give, take};
use super::fault;
use super::member::{Answer, Shared, Wish};
use super::native::{self, TopicId};
use super::position::{self, Start};
use super::record::{self, Copier};
use crate::catalog::locked;

/// The most that one delivery brings.
const BATCH_RECORDS: usize = 2_000;
const BATCH_BYTES: usize = 1 << 20;
/// The longest sleep: the client's own queue is looked at this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// How long a stage may take to answer a revocation; then the partition is given up, and what completes counts no more.
const REVOKED: Duration = Duration::from_secs(10);
/// How long a commit may take.
const COMMITTED: Duration = Duration::from_secs(10);
/// The wait before positions that could not be found are looked for again.
pub(super) const AGAIN: Duration = Duration::from_millis(500);

pub(super) type Client = BaseConsumer<MemberContext>;

/// An assigned partition.
pub(super) struct Lane {
    pub(super) partition: Partition,
    pub(super) epoch: Epoch,
    queue: PartitionQueue<MemberContext>,
    /// The id of the topic that it was assigned in.
    pub(super) topic: TopicId,
    /// The offset that reading goes on at.
    pub(super) next: u64,
    pub(super) committed: u64,
    pub(super) flow: Flow,
    /// When to look whether the offset that the broker refused is there.
    pub(super) doubt: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flow {
    Flowing,
    /// Revoked: commits are still taken.
    Ending,
    /// The topic was made anew; once released, reading begins again there.
    Anew(Anew),
    /// Released: reading begins there as soon as no rebalance is under way.
    Beginning(Anew),
    /// The broker refused the offset and has it: reading goes on there, as soon as no rebalance is under way.
    Resuming,
}

/// The beginning of a topic that was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Anew {
    pub(super) topic: TopicId,
    pub(super) begin: u64,
}

/// A rebalance that is not answered yet.
enum Answering {
    /// Positions are still to be found.
    Assign(TopicPartitionList, Instant),
    /// Until these are released, or the time is over.
    Revoke(TopicPartitionList, Vec<Partition>, Instant),
}

/// A commit under way.
struct Committing {
    partition: Partition,
    watermark: u64,
    since: Instant,
    answer: Answer,
}

/// What a member's thread works with.
pub(super) struct Poller {
    pub(super) client: Arc<Client>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) shared: Arc<Shared>,
    epochs: Arc<super::Epochs>,
    /// The group's whole name.
    pub(super) group: String,
    pub(super) lanes: Vec<Lane>,
    /// Assigned, but nobody knows yet where reading begins: no leader, or no topic.
    unplaced: Vec<Partition>,
    place_at: Instant,
    turn: usize,
    answering: Option<Answering>,
    committing: Vec<Committing>,
    pub(super) looked: Instant,
}

impl Poller {
    pub(super) fn new(
        client: Client,
        cluster: Arc<Cluster>,
        shared: Arc<Shared>,
        epochs: Arc<super::Epochs>,
        group: String,
    ) -> Self {
        let (lanes, unplaced, committing, now) = (Vec::new(), Vec::new(), Vec::new(), Instant::now());
        let (client, answering) = (Arc::new(client), None);
        let (place_at, looked) = (now, now);
        Poller { client, cluster, shared, epochs, group, lanes, unplaced, place_at, turn: 0, answering, committing, looked }
    }

    /// Runs until the stage leaves, or the group cannot be served any more.
    pub(super) fn run(mut self) {
        let ended = loop {
            match self.round() {
                Ok(Round::Left) => break None,
                Ok(Round::Busy) => {}
                Ok(Round::Idle) => self.shared.sleep(LONGEST_SLEEP),
                Err(error) => break Some(error.to_string()),
            }
        };
        self.end(ended);
    }

    fn round(&mut self) -> Result<Round, LogError> {
        self.serve()?;
        if self.grant()? == Round::Left {
            return Ok(Round::Left);
        }
        self.answer_rebalance()?;
        self.place()?;
        self.restart()?;
        self.settle_commits();
        self.look_at_topics();
        self.settle_doubts()?;
        self.read()
    }

    /// Leaves the group; all that is held is forgotten, and who still asks is told that it is over.
    fn end(mut self, broken: Option<String>) {
        self.client.context().closing.store(true, Ordering::Relaxed);
        // The client would wait for ever for an answer that nobody owes it any more.
        let answering = self.answering.take().map(|answering| match answering {
            Answering::Assign(..) => None,
            Answering::Revoke(partitions, ..) => Some(partitions),
        });
        let unheard = std::mem::take(&mut *locked(&self.client.context().rebalances)).into_iter().map(|one| match one {
            Rebalance::Assign(_) => None,
            Rebalance::Revoke { partitions, .. } => Some(partitions),
        });
        for given_up in answering.into_iter().chain(unheard) {
            let answered = match given_up {
                Some(partitions) => give(&self.client, &partitions),
                None => take(&self.client, &TopicPartitionList::new()),
            };
            if let Err(error) = answered {
                tracing::debug!(%error, group = self.group, "leaving the group");
            }
        }
        self.shared.tell(|state| {
            state.held.clear();
            state.records.clear();
            state.wishes.clear();
            state.broken = broken;
        });
        drop(self.lanes);
        // The last handle: dropping it closes the consumer.
        drop(self.client);
    }

    /// Hears everything that the client has to say: rebalances, ends of commits, errors.
    fn serve(&mut self) -> Result<(), LogError> {
        let client = self.client.clone();
        loop {
            let heard = client.context().told.count();
            match client.poll(Duration::ZERO) {
                // Records come from the partitions' own queues only.
                Some(Ok(message)) => drop(message),
                Some(Err(error)) => self.trouble(&error)?,
                None if client.context().told.count() == heard => return Ok(()),
                None => {}
            }
        }
    }

    /// What an error means for the stage.
    fn trouble(&mut self, error: &KafkaError) -> Result<(), LogError> {
        let code = error.rdkafka_error_code();
        if let KafkaError::MessageConsumptionFatal(code) = error {
            return Err(self.fault(*code));
        }
        match code {
            Some(Code::PartitionEOF) | None => Ok(()),
            // The client connects again by itself; the stage is told once, when no broker is left.
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut) => Ok(()),
            // The group is joined again by itself.
            Some(Code::PollExceeded) => {
                tracing::warn!(group = self.group, "the group took this consumer for dead");
                Ok(())
            }
            Some(code) => match self.fault(code) {
                LogError::Fatal(text) => Err(LogError::Fatal(text)),
                LogError::Unavailable(text) => {
                    self.shared.tell(|state| state.trouble = Some(text));
                    Ok(())
                }
            },
        }
    }

    fn fault(&self, code: Code) -> LogError {
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::TopicAuthorizationFailed => {
                fault::of("reading", "a topic", code)
            }
            code => fault::of("reading as the group", &self.group, code),
        }
    }

    /// Does what the stage wishes.
    fn grant(&mut self) -> Result<Round, LogError> {
        let wishes = self.shared.with(|state| std::mem::take(&mut state.wishes));
        let mut commits = Vec::new();
        for wish in wishes {
            match wish {
                Wish::Close => return Ok(Round::Left),
                Wish::Release { partition, epoch, answer } => {
                    self.release(&partition, epoch);
                    let _ = answer.send(Ok(()));
                }
                Wish::Commit { partition, epoch, watermark, answer } => match self.commits(&partition, epoch, watermark) {
                    true => commits.push(Committing { partition, watermark, since: Instant::now(), answer }),
                    false => drop(answer.send(Ok(()))),
                },
            }
        }
        self.commit(commits);
        Ok(Round::Busy)
    }

    /// Whether a watermark is to be committed: its assignment stands, and it lies above what is committed.
    fn commits(&self, partition: &Partition, epoch: Epoch, watermark: u64) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.partition == *partition && lane.epoch == epoch);
        lane.is_some_and(|lane| watermark > lane.committed)
    }

    fn commit(&mut self, commits: Vec<Committing>) {
        if commits.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for commit in &commits {
            let topic = self.lanes.iter().find(|lane| lane.partition == commit.partition).map(|lane| lane.topic.as_str());
            position::add(&mut list, &commit.partition, commit.watermark, topic.unwrap_or_default());
        }
        match native::commit(self.client.client(), &list) {
            Ok(()) => self.committing.extend(commits),
            Err(code) => {
                let error = fault::of("committing a position of", &self.group, code);
                commits.into_iter().for_each(|commit| drop(commit.answer.send(Err(error.clone()))));
            }
        }
    }

    /// Tells who waits for commits that have ended.
    fn settle_commits(&mut self) {
        let ends = std::mem::take(&mut *locked(&self.client.context().commits));
        for end in ends {
            self.settle(&end);
        }
        let (late, rest) = std::mem::take(&mut self.committing).into_iter().partition(|one| one.since.elapsed() > COMMITTED);
        self.committing = rest;
        for commit in late {
            let error = fault::of("committing a position of", &self.group, Code::OperationTimedOut);
            let _ = commit.answer.send(Err(error));
        }
    }

    fn settle(&mut self, end: &CommitEnd) {
        let partition = record::partition(&end.topic, end.partition);
        let offset = u64::try_from(end.offset).unwrap_or(0);
        let lane = self.lanes.iter_mut().find(|lane| lane.partition == partition);
        if let (Some(lane), None) = (lane, end.error) {
            lane.committed = lane.committed.max(offset);
        }
        let (ended, rest) = std::mem::take(&mut self.committing)
            .into_iter()
            .partition(|one| one.partition == partition && one.watermark <= offset);
        self.committing = rest;
        for commit in ended {
            let result = end.error.map_or(Ok(()), |code| Err(fault::of("committing a position of", &self.group, code)));
            let _ = commit.answer.send(result);
        }
    }

    fn answer_rebalance(&mut self) -> Result<(), LogError> {
        if self.answering.is_none() {
            let next = locked(&self.client.context().rebalances).pop_front();
            self.answering = Some(match next {
                None => return Ok(()),
                Some(Rebalance::Assign(partitions)) => Answering::Assign(partitions, Instant::now()),
                Some(Rebalance::Revoke { partitions, lost }) => self.revoke(partitions, lost),
            });
        }
        match self.answering.take() {
            Some(Answering::Assign(partitions, at)) if at <= Instant::now() => self.assign(partitions),
            Some(Answering::Revoke(partitions, open, until)) if open.is_empty() || until <= Instant::now() => {
                if !open.is_empty() {
                    tracing::warn!(
                        group = self.group,
                        "a stage did not answer a revocation in time; what it does there is done again elsewhere"
                    );
                }
                self.give_up(&partitions)
            }
            other => {
                self.answering = other;
                Ok(())
            }
        }
    }

    /// Takes partitions over, once it is known where reading them begins; those of which it is not, later.
    fn assign(&mut self, partitions: TopicPartitionList) -> Result<(), LogError> {
        let (starts, unplaced) = match position::find(&self.client, &self.cluster, &self.group, &partitions) {
            Ok(found) => found,
            Err(LogError::Unavailable(text)) => {
                tracing::warn!(group = self.group, error = text, "where reading begins could not be found out");
                self.shared.tell(|state| state.trouble = Some(text));
                self.answering = Some(Answering::Assign(partitions, Instant::now() + AGAIN));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.unplaced.extend(unplaced);
        self.place_at = Instant::now() + AGAIN;
        self.take_over(starts)
    }

    /// Takes over what could not be placed when it was assigned.
    fn place(&mut self) -> Result<(), LogError> {
        if self.unplaced.is_empty() || self.place_at > Instant::now() || self.is_rebalancing()? {
            return Ok(());
        }
        self.place_at = Instant::now() + AGAIN;
        let mut list = TopicPartitionList::with_capacity(self.unplaced.len());
        for (topic, index) in self.unplaced.iter().map(record::place) {
            list.add_partition(&topic, index);
        }
        match position::find(&self.client, &self.cluster, &self.group, &list) {
            Ok((starts, _)) if starts.is_empty() => Ok(()),
            Ok((starts, unplaced)) => {
                self.unplaced = unplaced;
                self.take_over(starts)
            }
            Err(LogError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the group waits for an answer of ours, as far as the client knows by now.
    pub(super) fn is_rebalancing(&mut self) -> Result<bool, LogError> {
        self.serve()?;
        Ok(self.answering.is_some() || !locked(&self.client.context().rebalances).is_empty())
    }

    fn take_over(&mut self, starts: Vec<Start>) -> Result<(), LogError> {
        let mut positioned = TopicPartitionList::with_capacity(starts.len());
        for start in &starts {
            let offset = Offset::Offset(i64::try_from(start.position).unwrap_or(i64::MAX));
            let place = record::place(&start.partition);
            let added = positioned.add_partition_offset(&place.0, place.1, offset);
            added.map_err(|error| fault::of_error("assigning", &place.0, &error))?;
        }
        let lanes = starts.into_iter().map(|start| self.lane(start)).collect::<Result<Vec<_>, _>>()?;
        take(&self.client, &positioned).map_err(|error| fault::of_error("joining the group", &self.group, &error))?;
        for lane in lanes {
            self.announce(&lane);
            self.lanes.push(lane);
        }
        Ok(())
    }

    pub(super) fn lane(&self, start: Start) -> Result<Lane, LogError> {
        let Start { partition, position, committed, topic } = start;
        let (name, index) = record::place(&partition);
        let Some(mut queue) = self.client.split_partition_queue(&name, index) else {
            return Err(fault::of("reading", &name, Code::UnknownPartition));
        };
        let shared = self.shared.clone();
        queue.set_nonempty_callback(move || shared.wake());
        let epoch = self.epochs.next();
        Ok(Lane { partition, epoch, queue, topic, next: position, committed, flow: Flow::Flowing, doubt: None })
    }

    pub(super) fn announce(&self, lane: &Lane) {
        let (partition, epoch, position) = (lane.partition.clone(), lane.epoch, lane.next);
        tracing::debug!(group = self.group, topic = %partition.topic, partition = partition.index, position, "assigned");
        self.shared.tell(|state| {
            state.paused.remove(&partition);
            state.held.insert(partition.clone(), epoch);
            state.notices.push_back(Delivery::Assigned { partition, epoch, position });
        });
    }

    /// Begins to give partitions up: the stage is told, and has to answer unless they are lost already.
    fn revoke(&mut self, partitions: TopicPartitionList, lost: bool) -> Answering {
        let named = position::partitions(&partitions);
        let mut open = Vec::new();
        for lane in self.lanes.iter_mut().filter(|lane| named.contains(&lane.partition)) {
            tracing::debug!(group = self.group, topic = %lane.partition.topic, partition = lane.partition.index, lost, "revoked");
            match std::mem::replace(&mut lane.flow, Flow::Ending) {
                Flow::Flowing | Flow::Resuming => {
                    self.shared.tell(|state| withdraw(state, &lane.partition, lane.epoch));
                    open.push(lane.partition.clone());
                }
                // The stage has heard of it, and has yet to answer.
                Flow::Anew(_) => open.push(lane.partition.clone()),
                // It is nobody's.
                Flow::Beginning(_) | Flow::Ending => {}
            }
        }
        if lost {
            tracing::warn!(
                group = self.group,
                "the group gave this consumer's partitions to others: it did not hear of it in time"
            );
            open.clear();
        }
        Answering::Revoke(partitions, open, Instant::now() + REVOKED)
    }

    fn give_up(&mut self, partitions: &TopicPartitionList) -> Result<(), LogError> {
        let named = position::partitions(partitions);
        self.shared.with(|state| state.held.retain(|partition, _| !named.contains(partition)));
        self.unplaced.retain(|partition| !named.contains(partition));
        let mut placed = TopicPartitionList::new();
        for lane in self.lanes.extract_if(.., |lane| named.contains(&lane.partition)) {
            let (topic, index) = record::place(&lane.partition);
            placed.add_partition(&topic, index);
        }
        give(&self.client, &placed).map_err(|error| fault::of_error("giving up partitions of", &self.group, &error))
    }

    fn release(&mut self, partition: &Partition, epoch: Epoch) {
        if let Some(Answering::Revoke(_, open, _)) = &mut self.answering {
            open.retain(|one| one != partition);
        }
        self.shared.with(|state| state.held.remove(partition));
        let lane = self.lanes.iter_mut().find(|lane| lane.partition == *partition && lane.epoch == epoch);
        if let Some(lane) = lane
            && let Flow::Anew(anew) = &lane.flow
        {
            lane.flow = Flow::Beginning(anew.clone());
        }
    }

    /// Reads a batch of the next partition in turn, if there is room for one.
    fn read(&mut self) -> Result<Round, LogError> {
        let count = self.lanes.len();
        for n in 0..count {
            let chosen = (self.turn + n) % count;
            let lane = &self.lanes[chosen];
            let wanted = self.shared.with(|state| state.wants(&lane.partition));
            if lane.flow != Flow::Flowing || !wanted {
                continue;
            }
            let records = self.batch(chosen)?;
            if !records.is_empty() {
                self.turn = chosen + 1;
                self.deliver(chosen, records);
                return Ok(Round::Busy);
            }
        }
        Ok(Round::Idle)
    }

    fn batch(&mut self, chosen: usize) -> Result<Vec<Received>, LogError> {
        let (mut records, mut bytes, mut copier) = (Vec::new(), 0, Copier::default());
        while records.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            match self.lanes[chosen].queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let received = copier.received(&message);
                    // After a seek the client may still hold what it read before.
                    if received.offset >= self.lanes[chosen].next {
                        self.lanes[chosen].next = received.offset + 1;
                        bytes += received.message.bytes();
                        records.push(received);
                    }
                }
                Some(Err(error)) => {
                    match error.rdkafka_error_code() {
                        Some(Code::PartitionEOF) => continue,
                        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                            self.lanes[chosen].doubt = Some(Instant::now());
                        }
                        _ => self.trouble(&error)?,
                    }
                    break;
                }
            }
        }
        Ok(records)
    }

    fn deliver(&self, chosen: usize, records: Vec<Received>) {
        let lane = &self.lanes[chosen];
        // It may have begun to end while it was read.
        if lane.flow == Flow::Flowing {
            let (partition, epoch) = (lane.partition.clone(), lane.epoch);
            let delivery = Delivery::Records { partition: partition.clone(), epoch, records };
            self.shared.tell(|state| state.records.push_back((partition, epoch, delivery)));
        }
    }
}

/// Takes back what the stage has not seen of an assignment, and tells it that the assignment ends.
pub(super) fn withdraw(state: &mut super::member::State, partition: &Partition, epoch: Epoch) {
    state.records.retain(|(_, of, _)| *of != epoch);
    state.notices.push_back(Delivery::Revoked { partition: partition.clone(), epoch });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Busy,
    Idle,
    Left,
}
