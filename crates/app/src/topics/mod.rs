//! `longshore topics`: the topics that a configuration needs on Kafka, made and checked.

mod check;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use longshore_log::kafka::{Found, KafkaLog, Made};
use longshore_stages::ports::{Retention, TopicSpec};
use longshore_stages::topics::{Scale, spell_delay};
use serde_json::{Value, json};

use crate::config::{self, DEFAULT_FILE, Purpose};
use crate::pipeline::topics_of;
use crate::place::LogPlace;
use crate::{exit, render};
use check::{Finding, Weight, findings};

/// `longshore topics`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  longshore topics create -c longshore.yaml\n  longshore topics check\n\n\
                        Exit codes: 0 done, or nothing is wrong; 1 failed; 2 wrong usage; 3 something is wrong with a topic; 78 wrong configuration.")]
pub struct TopicsArgs {
    /// What to do.
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum TopicsCommand {
    /// Make the topics that are not there yet; those that are stay as they are
    #[command(after_help = "Example:\n  longshore topics create -c longshore.yaml --replication-factor 3\n\n\
                            Exit codes: 0 all are there; 1 failed; 2 wrong usage; 78 wrong configuration.")]
    Create {
        /// The configuration, and the form of what is printed.
        #[command(flatten)]
        of: OfArgs,
        /// Partitions of the topics of events and tasks: at most so many processes share a stage's work
        #[arg(long, value_name = "N", default_value_t = Scale::KAFKA.work, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        partitions: u32,
        /// Copies of each partition [default: the broker's]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
        replication_factor: Option<u16>,
    },
    /// Say what is wrong with the topics, with remedies
    #[command(after_help = "Example:\n  longshore topics check -c longshore.yaml\n\n\
                            Exit codes: 0 nothing is wrong; 1 failed; 2 wrong usage; 3 something is; 78 wrong configuration.")]
    Check {
        /// The configuration, and the form of what is printed.
        #[command(flatten)]
        of: OfArgs,
    },
}

#[derive(Debug, Clone, Args)]
struct OfArgs {
    /// The configuration
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: TopicsArgs) -> Result<u8> {
    match args.command {
        TopicsCommand::Create { of, partitions, replication_factor } => {
            let (log, specs) = opened(&of, Scale { work: partitions, ..Scale::KAFKA })?;
            create(&of, &log, &specs, replication_factor).await
        }
        TopicsCommand::Check { of } => {
            let (log, specs) = opened(&of, Scale::KAFKA)?;
            check(&of, &log, &specs).await
        }
    }
}

fn opened(of: &OfArgs, scale: Scale) -> Result<(KafkaLog, Vec<TopicSpec>)> {
    let plan = config::load(&of.config, Purpose::Look).context(exit::Configuration)?.plan;
    let LogPlace::Kafka(settings) = &plan.place.log else {
        bail!("the log of {} is the embedded one, which makes its topics itself: there is nothing to do", of.config.display());
    };
    Ok((KafkaLog::new((**settings).clone())?, topics_of(&plan, scale)))
}

async fn create(of: &OfArgs, log: &KafkaLog, specs: &[TopicSpec], replicas: Option<u16>) -> Result<u8> {
    let made = log.create_topics(specs, replicas).await?;
    let is_new = |name: &str| made.iter().any(|(topic, made)| topic == name && *made == Made::New);
    if of.json {
        let topic = |spec: &TopicSpec| {
            let (retention, new) = (retention(spec), is_new(&spec.name));
            json!({ "topic": spec.name, "partitions": spec.partitions, "retention": retention, "created": new })
        };
        render::print_json(&Value::Array(specs.iter().map(topic).collect()))?;
    } else {
        let mut table = render::table(["topic", "partitions", "kept", ""]);
        table.add_rows(specs.iter().map(|spec| {
            let became = if is_new(&spec.name) { "made" } else { "was there" };
            [spec.name.clone(), spec.partitions.to_string(), retention(spec), became.to_owned()]
        }));
        render::print(table.trim_fmt())?;
    }
    Ok(exit::DONE)
}

fn retention(spec: &TopicSpec) -> String {
    match spec.retention {
        Retention::Forever => "for ever".to_owned(),
        Retention::UntilCommitted(_) => {
            spell_delay(Duration::from_secs(longshore_log::kafka::KEPT.as_secs())).replace("168h", "7 days")
        }
    }
}

async fn check(of: &OfArgs, log: &KafkaLog, specs: &[TopicSpec]) -> Result<u8> {
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let found = log.describe_topics(&names).await?;
    let all: Vec<(&TopicSpec, Option<&Found>, Vec<Finding>)> = specs
        .iter()
        .map(|spec| {
            let there = found.get(&spec.name);
            (spec, there, findings(spec, there))
        })
        .collect();
    let wrong = all.iter().flat_map(|(_, _, findings)| findings).any(|finding| finding.weight == Weight::Refused);
    if of.json {
        let finding = |one: &Finding| json!({ "refused": one.weight == Weight::Refused, "what": one.what, "remedy": one.remedy });
        let topic = |(spec, there, findings): &(&TopicSpec, Option<&Found>, Vec<Finding>)| {
            let findings: Vec<Value> = findings.iter().map(finding).collect();
            let (partitions, replicas) = (there.map(|found| found.partitions), there.map(|found| found.replicas));
            json!({ "topic": spec.name, "exists": there.is_some(), "partitions": partitions, "replicas": replicas, "findings": findings })
        };
        let topics: Vec<Value> = all.iter().map(topic).collect();
        render::print_json(&json!({ "ok": !wrong, "topics": topics }))?;
    } else {
        let lines = all.iter().flat_map(|(spec, _, findings)| findings.iter().map(|one| one.line(&spec.name)));
        let fine = format!("{} topics were looked at: {}", specs.len(), if wrong { "see above" } else { "nothing is wrong" });
        render::print(lines.chain([fine]).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if wrong { exit::FOUND } else { exit::DONE })
}
