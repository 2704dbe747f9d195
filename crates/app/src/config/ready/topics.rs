//! Topics that sources share: each event must belong to one of them, and nobody's inner topics may be an input.

use super::source::Drafted;
use crate::config::problem::Findings;

pub(super) fn check(sources: &[Drafted], found: &mut Findings) {
    for (n, later) in sources.iter().enumerate() {
        for earlier in &sources[..n] {
            unequal_names(earlier, later, found);
            shared_topic(earlier, later, found);
        }
        for other in sources {
            if let (Some(input), Some(inner)) = (&later.topic, &other.topics)
                && is_inner(inner, &input.text)
            {
                let message = format!(
                    "'{}' is a topic between the stages of the source {}; read events from another",
                    input.text, other.name
                );
                found.error(&input.at, format!("{}.topic", later.path), message);
            }
        }
        alone(later, sources, found);
    }
}

fn unequal_names(earlier: &Drafted, later: &Drafted, found: &mut Findings) {
    if !later.name.is_empty() && earlier.name == later.name {
        let message =
            format!("'{}' is {}'s name already, and both would write the same tables; choose another", later.name, earlier.path);
        found.error(&later.name_at, format!("{}.name", later.path), message);
    }
}

fn shared_topic(earlier: &Drafted, later: &Drafted, found: &mut Findings) {
    let (Some(one), Some(two)) = (&earlier.topic, &later.topic) else { return };
    if one.text != two.text || earlier.name == later.name {
        return;
    }
    match (&earlier.when, &later.when) {
        (None, None) => {
            let message = format!(
                "the sources {} and {} both take all events of the topic {}; give at least one of them a when",
                earlier.name, later.name, one.text
            );
            found.error(&two.at, format!("{}.topic", later.path), message);
        }
        (Some(a), Some(b)) if a.header == b.header && a.field == b.field => {
            for (at, value) in b.equals.iter().filter(|(_, value)| a.equals.iter().any(|(_, other)| other == value)) {
                let message = format!("'{value}' belongs to the source {} already; name it in one of the two", earlier.name);
                found.error(at, format!("{}.when.equals", later.path), message);
            }
        }
        _ => {}
    }
}

/// A source that takes a part of a topic that nobody else reads.
fn alone(source: &Drafted, sources: &[Drafted], found: &mut Findings) {
    let (Some(topic), Some(when)) = (&source.topic, &source.when) else { return };
    let rest = |other: &Drafted| other.when.is_none() && other.topic.as_ref().is_some_and(|t| t.text == topic.text);
    if !sources.iter().any(rest) {
        let message = format!(
            "events of the topic {} that no when names belong to nobody and are skipped; add a source without when to take them",
            topic.text
        );
        found.warn(&when.at, format!("{}.when", source.path), message);
    }
}

fn is_inner(topics: &longshore_stages::topics::Topics, input: &str) -> bool {
    [topics.pending(), topics.results(), topics.dead_letters()].iter().any(|inner| inner == input)
        || topics.tier_delay(input).is_some()
}
