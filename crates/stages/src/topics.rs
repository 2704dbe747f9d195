//! The topics and groups of a source.

use std::time::Duration;

use crate::ports::{Retention, TopicSpec};

/// How many partitions topics get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Of events and of tasks: at most so many processes share the work of a stage.
    pub work: u32,
    /// Of each retry tier.
    pub tiers: u32,
}

impl Scale {
    /// Of the embedded log, which one process reads.
    pub const EMBEDDED: Scale = Scale { work: 1, tiers: 1 };
    /// Of Apache Kafka, unless another number is asked for.
    pub const KAFKA: Scale = Scale { work: 12, tiers: 6 };
}

/// Names of a source's topics and consumer groups, all derived from the source's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    source: String,
    raw: String,
    enriched: bool,
}

impl Topics {
    /// The topics of the source with this name.
    pub fn of(source: &str) -> Self {
        Topics { source: source.to_owned(), raw: format!("{source}.events.raw"), enriched: false }
    }

    /// The same with another input, which several sources may share.
    pub fn reading(self, topic: &str) -> Self {
        Topics { raw: topic.to_owned(), ..self }
    }

    /// The same for a source whose events are enriched before tasks are made of them.
    pub fn enriched(self) -> Self {
        Topics { enriched: true, ..self }
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The input: events as they came.
    pub fn raw(&self) -> String {
        self.raw.clone()
    }

    /// The events that tasks and rows are made of: the input, or what enriching made of it.
    pub fn events(&self) -> String {
        if self.enriched { format!("{}.events.enriched", self.source) } else { self.raw() }
    }

    /// Tasks that may be downloaded now.
    pub fn pending(&self) -> String {
        format!("{}.downloads.pending", self.source)
    }

    /// Stored attachments on their way to the inventory.
    pub fn results(&self) -> String {
        format!("{}.downloads.results", self.source)
    }

    /// Dead letters.
    pub fn dead_letters(&self) -> String {
        format!("{}.downloads.dlq", self.source)
    }

    /// The retry tier with this delay.
    pub fn tier(&self, delay: Duration) -> String {
        format!("{}.downloads.retry.{}", self.source, spell_delay(delay))
    }

    /// The delay of a topic that is one of this source's retry tiers.
    pub fn tier_delay(&self, topic: &str) -> Option<Duration> {
        let rest = topic.strip_prefix(&self.source)?.strip_prefix(".downloads.retry.")?;
        parse_delay(rest)
    }

    /// Events whose enriching is due again; nothing else reads or writes it, so that an input shared with other
    /// sources sees each event once.
    pub fn enrich_due(&self) -> String {
        format!("{}.events.due", self.source)
    }

    /// The retry tier of enriching with this delay.
    pub fn enrich_tier(&self, delay: Duration) -> String {
        format!("{}.events.retry.{}", self.source, spell_delay(delay))
    }

    /// The delay of a topic that is one of this source's retry tiers of enriching.
    pub fn enrich_tier_delay(&self, topic: &str) -> Option<Duration> {
        let rest = topic.strip_prefix(&self.source)?.strip_prefix(".events.retry.")?;
        parse_delay(rest)
    }

    /// The group that enriches events.
    pub fn enrich_group(&self) -> String {
        format!("{}.enrich", self.source)
    }

    /// The group that brings events back from the retry tiers of enriching.
    pub fn enrich_retry_group(&self) -> String {
        format!("{}.enrich.retry", self.source)
    }

    /// The group that turns events into tasks.
    pub fn ingest_group(&self) -> String {
        format!("{}.ingest", self.source)
    }

    /// The group that downloads.
    pub fn download_group(&self) -> String {
        format!("{}.download", self.source)
    }

    /// The group that brings tasks back from the retry tiers.
    pub fn retry_group(&self) -> String {
        format!("{}.retry", self.source)
    }

    /// The group that records results in `attachments`.
    pub fn record_results_group(&self) -> String {
        format!("{}.record.results", self.source)
    }

    /// The group that records dead letters in `attachments_failed`.
    pub fn record_failures_group(&self) -> String {
        format!("{}.record.dlq", self.source)
    }

    /// The group that records events in `events`.
    pub fn record_events_group(&self) -> String {
        format!("{}.record.events", self.source)
    }

    /// Everything that must exist before the stages start, for a ladder with these delays. Results and dead letters have
    /// one partition each, on any log: one committer for each table.
    pub fn specs(&self, delays: &[Duration], scale: Scale) -> Vec<TopicSpec> {
        let until = |groups: &[String]| Retention::UntilCommitted(groups.to_vec());
        let spec = |name: String, partitions: u32, retention: Retention| TopicSpec { name, partitions, retention };
        let mut specs = vec![
            spec(self.events(), scale.work, until(&[self.ingest_group(), self.record_events_group()])),
            spec(self.pending(), scale.work, until(&[self.download_group()])),
            spec(self.results(), 1, until(&[self.record_results_group()])),
            spec(self.dead_letters(), 1, Retention::Forever),
        ];
        specs.extend(delays.iter().map(|delay| spec(self.tier(*delay), scale.tiers, until(&[self.retry_group()]))));
        specs
    }

    /// What must exist besides before events are enriched, for a ladder with these delays.
    pub fn enrich_specs(&self, delays: &[Duration], scale: Scale) -> Vec<TopicSpec> {
        let until = |group: String| Retention::UntilCommitted(vec![group]);
        let mut specs = vec![
            TopicSpec { name: self.raw(), partitions: scale.work, retention: until(self.enrich_group()) },
            TopicSpec { name: self.enrich_due(), partitions: scale.work, retention: until(self.enrich_group()) },
        ];
        let tier = |delay: &Duration| TopicSpec {
            name: self.enrich_tier(*delay),
            partitions: scale.tiers,
            retention: until(self.enrich_retry_group()),
        };
        specs.extend(delays.iter().map(tier));
        specs
    }

    /// Each topic with the groups that must have read all of it before the work is done.
    pub fn consumption(&self, topic: &str) -> Vec<String> {
        match topic {
            t if t == self.events() => vec![self.ingest_group(), self.record_events_group()],
            t if t == self.pending() => vec![self.download_group()],
            t if t == self.results() => vec![self.record_results_group()],
            t if t == self.dead_letters() => vec![self.record_failures_group()],
            t if self.tier_delay(t).is_some() => vec![self.retry_group()],
            t if self.enriched && (t == self.raw() || t == self.enrich_due()) => vec![self.enrich_group()],
            t if self.enriched && self.enrich_tier_delay(t).is_some() => vec![self.enrich_retry_group()],
            _ => Vec::new(),
        }
    }
}

/// Spells a delay as topics and flags do: `200ms`, `5s`, `10m`, `1h`.
pub fn spell_delay(delay: Duration) -> String {
    match delay.as_millis() {
        ms if ms % 1_000 != 0 || ms == 0 => format!("{ms}ms"),
        ms if ms % 60_000 != 0 => format!("{}s", ms / 1_000),
        ms if ms % 3_600_000 != 0 => format!("{}m", ms / 60_000),
        ms => format!("{}h", ms / 3_600_000),
    }
}

/// Reads `200ms`, `5s`, `10m`, `1h` or `2d`.
pub fn parse_delay(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spelled_and_read_back() {
        for (ms, spelled) in [(0, "0ms"), (200, "200ms"), (1_000, "1s"), (90_000, "90s"), (300_000, "5m"), (3_600_000, "1h")] {
            assert_eq!(spell_delay(Duration::from_millis(ms)), spelled);
            assert_eq!(parse_delay(spelled), Some(Duration::from_millis(ms)));
        }
        for wrong in ["", "5", "s", "-1s", "1.5s", "5 m", "99999999999999999999s"] {
            assert_eq!(parse_delay(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tier_is_known_by_its_name_and_a_similar_source_is_not() {
        let topics = Topics::of("urls");
        let tier = topics.tier(Duration::from_secs(300));
        assert_eq!(tier, "urls.downloads.retry.5m");
        assert_eq!(topics.tier_delay(&tier), Some(Duration::from_secs(300)));
        assert_eq!(Topics::of("url").tier_delay(&tier), None);
        assert_eq!(topics.tier_delay(&topics.pending()), None);
        for spec in topics.specs(&[Duration::from_secs(5)], Scale::EMBEDDED) {
            assert!(!topics.consumption(&spec.name).is_empty(), "{} is read by nobody", spec.name);
        }
    }

    #[test]
    fn what_enriching_needs_is_read_by_somebody_and_by_nobody_without_it() {
        let topics = Topics::of("claims").reading("shared").enriched();
        let delays = [Duration::from_secs(5)];
        let specs = topics.enrich_specs(&delays, Scale::KAFKA);
        let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["shared", "claims.events.due", "claims.events.retry.5s"]);
        for spec in specs.iter().chain(&topics.specs(&delays, Scale::KAFKA)) {
            let groups = topics.consumption(&spec.name);
            assert!(spec.retention == Retention::Forever || spec.retention == Retention::UntilCommitted(groups), "{}", spec.name);
        }
        assert_eq!(topics.enrich_tier_delay("claims.events.retry.5s"), Some(delays[0]));
        assert_eq!(topics.tier_delay("claims.events.retry.5s"), None);
        assert!(Topics::of("claims").consumption("claims.events.retry.5s").is_empty());
    }
}
