//! What `dev/fleet-speed` measures Longshore with on Apache Kafka, and by which.
//!
//! `kafka_loop copy BROKER FROM TO N` is the yardstick of ingest: the bare loop consume → parse → produce. The others make
//! load (`fill`, `pace`), look on from outside (`watch`, `times`), or make and remove topics (`create`, `delete`).
//! Facts are printed as JSON, one object a line; exits with 1 when anything failed.

mod client;
mod copy;
mod event;
mod load;
mod look;

use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage:
  kafka_loop create BROKER PARTITIONS TOPIC…         makes topics
  kafka_loop delete BROKER PREFIX                    removes the topics whose names begin so
  kafka_loop fill BROKER TOPIC N URL [FIRST]         produces events of one attachment each, URL/0000000.bin and so on
  kafka_loop pace BROKER TOPIC RATE SECONDS URL      the same on a schedule, whatever becomes of them; trace ids begin with
                                                     the time at which each was to be sent, in microseconds
  kafka_loop copy BROKER FROM TO N                   consumes N events, parses each, produces a record for each
  kafka_loop watch BROKER TOPIC N SECONDS            says when the first record was seen in a topic, and when N were
  kafka_loop times BROKER TOPIC PARTITIONS           says of each record when it was appended, and the partition of its key";

fn main() -> ExitCode {
    match run(&mut std::env::args().skip(1).collect::<Vec<_>>().into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafka_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The words of the command line that are left.
struct Words(std::vec::IntoIter<String>);

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Words(words.into_iter())
    }
}

impl Words {
    fn next<T: FromStr>(&mut self) -> Result<T> {
        let word = self.0.next().ok_or(USAGE)?;
        word.parse().map_err(|_| format!("{word:?} is not what is meant here\n{USAGE}").into())
    }
}

fn run(words: &mut Words) -> Result<()> {
    let (command, broker): (String, String) = (words.next()?, words.next()?);
    match command.as_str() {
        "create" => client::create(&broker, words.next()?, &words.0.by_ref().collect::<Vec<_>>()),
        "delete" => client::delete(&broker, &words.next::<String>()?),
        "fill" => {
            load::fill(&broker, &words.next::<String>()?, words.next()?, &words.next::<String>()?, words.next().unwrap_or(0))
        }
        "pace" => load::pace(&broker, &words.next::<String>()?, words.next()?, words.next()?, &words.next::<String>()?),
        "copy" => copy::copy(&broker, &words.next::<String>()?, &words.next::<String>()?, words.next()?),
        "watch" => look::watch(&broker, &words.next::<String>()?, words.next()?, words.next()?),
        "times" => look::times(&broker, &words.next::<String>()?, words.next()?),
        _ => Err(USAGE.into()),
    }
}
