//! Topics that sources share: each event must belong to one of them, and nobody's inner topics may be an input.

use longshore_core::source::Route;

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
        (Some(a), Some(b)) if a.by == b.by => {
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
            "events of the topic {} that no when names end as dead letters; add a source without when to take them",
            topic.text
        );
        found.warn(&when.at, format!("{}.when", source.path), message);
    }
}

fn is_inner(topics: &longshore_stages::topics::Topics, input: &str) -> bool {
    let enriched = topics.clone().enriched().events();
    [topics.pending(), topics.results(), topics.dead_letters(), enriched, topics.enrich_due()].iter().any(|inner| inner == input)
        || topics.tier_delay(input).is_some()
        || topics.enrich_tier_delay(input).is_some()
}

/// Tells each source of a shared topic, and each with a `when`, which events are its own.
pub(super) fn route(sources: &mut [Drafted], found: &mut Findings) {
    for n in 0..sources.len() {
        let Some(topic) = sources[n].topic.as_ref().map(|topic| topic.text.clone()) else { continue };
        let on_topic = sources.iter().filter(|other| other.topic.as_ref().is_some_and(|t| t.text == topic));
        let list: Vec<_> = on_topic.map(|s| (s.name.clone(), s.when.as_ref().map(|when| when.condition.clone()))).collect();
        let source = &mut sources[n];
        if list.len() < 2 && source.when.is_none() {
            continue;
        }
        if let Some(route) = found.keep(&source.name_at, &source.path, Route::new(&list, &source.name)) {
            source.set_route(route);
        }
    }
}
