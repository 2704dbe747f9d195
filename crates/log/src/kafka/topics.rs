//! Topics as they are made, and as they are found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use longshore_stages::ports::{LogError, Retention, TopicSpec};
use rdkafka::admin::{AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::cluster::{ANSWER, Cluster};
use super::fault;
use super::settings::MAX_RECORD_BYTES;

/// How long what is not kept for ever is kept at least: an outage of that length loses nothing.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The longest wait until a new topic is known to all.
const SEEN: Duration = Duration::from_secs(15);
/// The pause between two looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// What became of a topic that was to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New,
    /// It was there.
    There,
}

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of its partitions.
    pub partitions: u32,
    /// The fewest replicas that a partition has.
    pub replicas: usize,
    /// Its settings, its own and those that it has from the broker.
    pub settings: BTreeMap<String, String>,
}

/// The settings of a new topic.
///
/// Times are the broker's: retries are due, and days are counted, by one clock.
fn settings(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let kept = match spec.retention {
        Retention::Forever => "-1".to_owned(),
        Retention::UntilCommitted(_) => KEPT.as_millis().to_string(),
    };
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", kept),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", MAX_RECORD_BYTES.to_string()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
    ]
}

/// Makes the topics that are not there, and waits until all know them.
pub(super) async fn create(
    cluster: &std::sync::Arc<Cluster>,
    specs: &[TopicSpec],
    replicas: Option<u16>,
) -> Result<Vec<(String, Made)>, LogError> {
    let settings: Vec<_> = specs.iter().map(settings).collect();
    let replicas = replicas.map_or(-1, i32::from);
    let topics = specs.iter().zip(&settings).map(|(spec, settings)| {
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(replicas));
        settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
    });
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
    let made = cluster.admin().create_topics(&topics, &options).await;
    let made = made.map_err(|error| fault::of_error("making", "topics", &error))?;
    let mut results = Vec::with_capacity(made.len());
    for result in made {
        match result {
            Ok(name) => results.push((name, Made::New)),
            Err((name, Code::TopicAlreadyExists)) => results.push((name, Made::There)),
            Err((name, code)) => return Err(fault::of("making the topic", &name, code)),
        }
    }
    wait(cluster, specs).await?;
    Ok(results)
}

/// Waits until the topics are seen, each with as many partitions as were asked for.
async fn wait(cluster: &std::sync::Arc<Cluster>, specs: &[TopicSpec]) -> Result<(), LogError> {
    let until = Instant::now() + SEEN;
    loop {
        let asked = cluster.clone();
        let topics = super::blocking(move || asked.topics(ANSWER)).await?;
        let found = |spec: &TopicSpec| topics.get(&spec.name).map_or(0, Vec::len);
        let missing = specs.iter().find(|spec| found(spec) == 0);
        let Some(spec) = missing else {
            let few = specs.iter().find(|spec| (found(spec) as u64) < u64::from(spec.partitions));
            return few.map_or(Ok(()), |spec| Err(too_few(spec, found(spec))));
        };
        if Instant::now() >= until {
            return Err(fault::of("making the topic", &spec.name, Code::OperationTimedOut));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn too_few(spec: &TopicSpec, found: usize) -> LogError {
    LogError::Fatal(format!(
        "the topic {} has {found} partitions, and {} are needed: add some with kafka-topics --alter --partitions {}",
        spec.name, spec.partitions, spec.partitions
    ))
}

/// The topics of these names that are there.
pub(super) async fn describe(cluster: &std::sync::Arc<Cluster>, names: &[String]) -> Result<BTreeMap<String, Found>, LogError> {
    let asked = cluster.clone();
    let sizes = super::blocking(move || asked.sizes()).await?;
    let there: Vec<&String> = names.iter().filter(|name| sizes.contains_key(*name)).collect();
    if there.is_empty() {
        return Ok(BTreeMap::new());
    }
    let resources: Vec<_> = there.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let described = cluster.admin().describe_configs(&resources, &options).await;
    let described = described.map_err(|error| fault::of_error("describing", "topics", &error))?;
    let mut found = BTreeMap::new();
    for resource in described {
        let resource = resource.map_err(|code| fault::of("describing", "topics", code))?;
        let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
        let settings = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
        let Some((partitions, replicas)) = sizes.get(&name).copied() else { continue };
        found.insert(name, Found { partitions: partitions as u32, replicas, settings });
    }
    Ok(found)
}
