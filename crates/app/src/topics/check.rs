//! What may be wrong with a topic: a function of what is needed and what was found.

use longshore_log::kafka::{Found, KEPT};
use longshore_stages::ports::{Retention, TopicSpec};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Records may be lost, or nothing works.
    Refused,
    /// It works, but otherwise than it is meant.
    Remark,
}

/// Something about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Finding {
    /// For people.
    pub(super) fn line(&self, topic: &str) -> String {
        let word = match self.weight {
            Weight::Refused => "wrong",
            Weight::Remark => "note",
        };
        format!("{word}: {topic}: {}: {}", self.what, self.remedy)
    }
}

/// The least that a record of an input or of a stage may need, in bytes: what Kafka takes by default.
const RECORD_BYTES: i64 = 1_048_588;

/// Everything about a topic that deserves a word.
pub(super) fn findings(spec: &TopicSpec, found: Option<&Found>) -> Vec<Finding> {
    let refused = |what: String, remedy: &str| Finding { weight: Weight::Refused, what, remedy: remedy.to_owned() };
    let Some(found) = found else { return vec![refused("is not there".to_owned(), "run longshore topics create")] };
    let text = |name: &str| found.settings.get(name).map(String::as_str);
    let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
    let mut all = Vec::new();
    if text("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        all.push(refused("is compacted, which drops records of equal keys".into(), "set cleanup.policy=delete"));
    }
    all.extend(retention(spec, number("retention.ms")).map(|(what, remedy)| refused(what, &remedy)));
    if let Some(bytes) = number("retention.bytes").filter(|bytes| *bytes >= 0) {
        let what = format!("keeps at most {bytes} bytes of a partition, whoever has yet to read them");
        all.push(refused(what, "set retention.bytes=-1"));
    }
    if found.replicas >= 3 && number("min.insync.replicas").is_some_and(|least| least < 2) {
        let what = format!("has {} replicas, of which one alone may acknowledge", found.replicas);
        all.push(refused(what, "set min.insync.replicas=2"));
    }
    let remark = |what: String, remedy: &str| Finding { weight: Weight::Remark, what, remedy: remedy.to_owned() };
    if let Some(bytes) = number("max.message.bytes").filter(|bytes| *bytes < RECORD_BYTES) {
        let what = format!("takes records of at most {bytes} bytes");
        all.push(remark(what, "set max.message.bytes=2097152, so that large events fit"));
    }
    if spec.partitions == 1 && found.partitions > 1 {
        let what = format!("has {} partitions, and one committer is faster", found.partitions);
        all.push(remark(what, "make it anew with one partition, if that can be"));
    }
    all
}

/// What is wrong with how long records are kept, and the remedy.
fn retention(spec: &TopicSpec, found: Option<i64>) -> Option<(String, String)> {
    let found = found?;
    let needed = match spec.retention {
        Retention::Forever if found == -1 => return None,
        Retention::Forever => {
            return Some((
                format!("keeps records for {}, and rows cite them for ever", days(found)),
                "set retention.ms=-1".into(),
            ));
        }
        Retention::UntilCommitted(_) => i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX),
    };
    let short = (0..needed).contains(&found);
    short.then(|| {
        let what = format!("keeps records for {}: an outage of that length would lose what is unread", days(found));
        (what, format!("set retention.ms={needed} (7 days) or longer"))
    })
}

fn days(millis: i64) -> String {
    let hours = millis / 3_600_000;
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn spec(retention: Retention) -> TopicSpec {
        TopicSpec { name: "t".to_owned(), partitions: 1, retention }
    }

    fn found(replicas: usize, settings: &[(&str, &str)]) -> Found {
        let own = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Found { partitions: 1, replicas, settings: own.collect() }
    }

    fn refused(spec: &TopicSpec, found: &Found) -> Vec<String> {
        let all = findings(spec, Some(found)).into_iter().filter(|one| one.weight == Weight::Refused);
        all.map(|one| one.remedy).collect()
    }

    #[test]
    fn what_may_lose_records_is_refused_and_what_may_not_is_not() {
        let working = spec(Retention::UntilCommitted(Vec::new()));
        let week = (7 * DAY).to_string();
        let right = [
            ("cleanup.policy", "delete"),
            ("retention.ms", week.as_str()),
            ("retention.bytes", "-1"),
            ("min.insync.replicas", "1"),
        ];
        assert!(findings(&working, Some(&found(1, &right))).is_empty());
        assert_eq!(refused(&working, &found(3, &right)), ["set min.insync.replicas=2"]);
        let day = DAY.to_string();
        for (name, value, remedy) in [
            ("cleanup.policy", "compact", "cleanup.policy=delete"),
            ("cleanup.policy", "compact,delete", "cleanup.policy=delete"),
            ("retention.ms", day.as_str(), "retention.ms=604800000"),
            ("retention.bytes", "1000000", "retention.bytes=-1"),
        ] {
            let said = refused(&working, &found(1, &[(name, value)]));
            assert!(said.len() == 1 && said[0].contains(remedy), "{name}={value}: {said:?}");
        }
        assert!(refused(&working, &found(1, &[("retention.ms", "-1")])).is_empty(), "for ever is long enough");
        assert_eq!(findings(&working, None)[0].remedy, "run longshore topics create");
    }

    #[test]
    fn dead_letters_are_kept_for_ever() {
        let letters = spec(Retention::Forever);
        let year = (365 * DAY).to_string();
        assert_eq!(refused(&letters, &found(1, &[("retention.ms", &year)])), ["set retention.ms=-1"]);
        assert!(refused(&letters, &found(1, &[("retention.ms", "-1")])).is_empty());
    }
}
