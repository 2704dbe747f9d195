//! Partitions whose reading begins again while they are ours: their topic was made anew, or the broker refused an offset.
//!
//! ```text
//! another topic id ─▶ Anew: the stage is told to give it up ─ released ─▶ Beginning ─▶ taken anew, as another assignment
//! offset refused   ─▶ doubt ─ it is there ─▶ Resuming ─▶ taken anew, the same assignment
//!                            └ it is not  ─▶ the group stops, and says what to do
//! ```
//! The client does not seek where the broker has refused it an offset, so the partition is given up and taken again. During a
//! rebalance that would be an answer to the group, so it waits for the end of one.

use std::time::{Duration, Instant};

use longshore_stages::ports::LogError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::{give, take};
use super::poller::{AGAIN, Anew, Flow, Lane, Poller, withdraw};
use super::position::{self, Start};
use super::{fault, record};

/// How often it is looked whether a topic is still the one that it was.
const SAME_TOPICS: Duration = Duration::from_secs(10);
/// The longest wait for the answer.
const ANSWER: Duration = Duration::from_secs(2);

impl Poller {
    /// Begins again, or goes on, with partitions that are ready for it.
    pub(super) fn restart(&mut self) -> Result<(), LogError> {
        let ready = |lane: &Lane| matches!(lane.flow, Flow::Beginning(_) | Flow::Resuming);
        if !self.lanes.iter().any(ready) || self.is_rebalancing()? {
            return Ok(());
        }
        while let Some(at) = self.lanes.iter().position(ready) {
            let Lane { partition, epoch, topic, next, committed, flow, .. } = self.lanes.swap_remove(at);
            let (start, same) = match flow {
                Flow::Beginning(Anew { topic, begin }) => (Start { partition, position: begin, committed: 0, topic }, None),
                _ => (Start { partition, position: next, committed, topic }, Some(epoch)),
            };
            self.take_again(start, same)?;
        }
        Ok(())
    }

    fn take_again(&mut self, start: Start, same: Option<longshore_stages::ports::Epoch>) -> Result<(), LogError> {
        let (name, index) = record::place(&start.partition);
        let offset = Offset::Offset(i64::try_from(start.position).unwrap_or(i64::MAX));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&name, index, offset).map_err(|error| fault::of_error("reading", &name, &error))?;
        give(&self.client, &list).map_err(|error| fault::of_error("giving up", &name, &error))?;
        let mut lane = self.lane(start)?;
        take(&self.client, &list).map_err(|error| fault::of_error("reading", &name, &error))?;
        match same {
            Some(epoch) => lane.epoch = epoch,
            None => self.announce(&lane),
        }
        self.lanes.push(lane);
        Ok(())
    }

    /// Looks from time to time whether topics were deleted and made again.
    pub(super) fn look_at_topics(&mut self) {
        if self.looked.elapsed() >= SAME_TOPICS {
            self.find_topics_made_anew();
        }
    }

    /// Has the stage give up what it holds of topics that were made anew. A look that fails now is repeated soon.
    fn find_topics_made_anew(&mut self) {
        self.looked = Instant::now();
        let mut names: Vec<&str> = self.lanes.iter().map(|lane| &*lane.partition.topic).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return;
        }
        let ids = match self.cluster.ids(&names, ANSWER) {
            Ok(ids) => ids,
            Err(error) => return tracing::debug!(%error, group = self.group, "looking at topics"),
        };
        let is_anew = |lane: &Lane| {
            let other = ids.get(&*lane.partition.topic).is_some_and(|id| *id != lane.topic);
            other && matches!(lane.flow, Flow::Flowing | Flow::Resuming)
        };
        let places: Vec<_> = self.lanes.iter().filter(|lane| is_anew(lane)).map(|lane| record::place(&lane.partition)).collect();
        let Ok(bounds) = self.cluster.bounds(&places) else { return };
        for lane in self.lanes.iter_mut().filter(|lane| is_anew(lane)) {
            let (topic, partition) = (lane.partition.topic.clone(), lane.partition.index);
            let Some((begin, _)) = bounds.get(&record::place(&lane.partition)) else { continue };
            let Some(id) = ids.get(&*topic) else { continue };
            tracing::warn!(group = self.group, %topic, partition, "the topic was made anew; it is read from its beginning");
            lane.flow = Flow::Anew(Anew { topic: id.clone(), begin: *begin });
            lane.doubt = None;
            self.shared.tell(|state| withdraw(state, &lane.partition, lane.epoch));
        }
    }

    /// Finds out what is behind offsets that the broker refused.
    pub(super) fn settle_doubts(&mut self) -> Result<(), LogError> {
        let now = Instant::now();
        let due = |lane: &Lane| lane.flow == Flow::Flowing && lane.doubt.is_some_and(|at| at <= now);
        if !self.lanes.iter().any(due) {
            return Ok(());
        }
        self.find_topics_made_anew();
        let places: Vec<_> = self.lanes.iter().filter(|lane| due(lane)).map(|lane| record::place(&lane.partition)).collect();
        let bounds = self.cluster.bounds(&places).unwrap_or_default();
        for lane in self.lanes.iter_mut().filter(|lane| due(lane)) {
            match bounds.get(&record::place(&lane.partition)) {
                None => lane.doubt = Some(now + AGAIN),
                Some((begin, end)) if (*begin..=*end).contains(&lane.next) => {
                    (lane.flow, lane.doubt) = (Flow::Resuming, None);
                }
                Some((begin, end)) => {
                    return Err(position::out_of_range(&self.group, &lane.partition, lane.next, *begin, *end));
                }
            }
        }
        Ok(())
    }
}
