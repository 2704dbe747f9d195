use longshore_core::file_type::FileTypes;
use longshore_core::format::Enriched;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::source::{EnrichMapping, Identity, Mapping};

use super::*;
use crate::ports::Message;

fn partition() -> Partition {
    Partition { topic: "s.downloads.results".into(), index: 0 }
}

fn received(value: Vec<u8>) -> Received {
    Received { offset: 7, appended_at: 0, message: Message { value: Some(value.into()), ..Message::default() } }
}

#[test]
fn an_enriched_event_of_a_newer_longshore_stops_the_stage_and_is_not_left_out() {
    let source = Source {
        name: "s".into(),
        mapping: Mapping::Xact,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{media_id}").expect("path"),
        route: None,
        enrich: Some(EnrichMapping::new(Some("files"), &[]).expect("mapping")),
    };
    let rows = |value: Vec<u8>| event_rows(&source, &source.shape(), "s.events", &[received(value)], 0);
    let enriched = Enriched { event: br#"{"type":"a","traceId":"t"}"#[..].into(), answer: b"{}" }.encode().expect("JSON");
    assert_eq!(rows(enriched).expect("rows").len(), 1);
    assert_eq!(rows(b"rubbish".to_vec()).expect("rows").len(), 0);
    let stopped = rows(br#"{"v":9,"other":1}"#.to_vec()).expect_err("a newer format").to_string();
    assert!(stopped.contains("s.events at offset 7") && stopped.contains("format version 9"), "{stopped}");
}

/// Whatever somebody else wrote to our topic, its letter fits into the log, and its bytes are kept.
#[tokio::test]
async fn a_large_record_that_cannot_be_read_is_kept_in_the_store() {
    let (clock, progress, shelf) = (crate::ports::SystemClock, Progress::default(), crate::shelf::Shelf::default());
    let record = received(vec![b'x'; 1 << 20]);
    let parcel = poison("s", &partition(), &record, &FormatError::Undecodable("no".into()), &clock, &progress);
    let log = Arc::new(Taken::default());
    let patience = Patience::new(CancellationToken::new(), Duration::ZERO);
    let post = Post { log: log.clone(), store: Arc::new(shelf.clone()), patience };
    post.append("appending dead letters", "s.downloads.dlq", vec![parcel]).await.expect("appended");
    let messages = log.0.lock().expect("log").clone();
    let letter: DeadLetter = format::decode(messages[0].value.as_deref().expect("value")).expect("a letter");
    assert!(messages[0].bytes() < 1_000 && letter.original.is_none());
    let (whole, _) = crate::letters::read_back(&shelf, letter, Vec::new()).await.expect("read").expect("there");
    assert_eq!(longshore_core::replay::original(&whole).as_deref(), record.message.value.as_deref());
}

/// Another's file under the object's name is left alone, and the letter says where its own is.
#[tokio::test]
async fn an_object_whose_name_is_taken_is_found_where_it_is() {
    let (clock, progress, shelf) = (crate::ports::SystemClock, Progress::default(), crate::shelf::Shelf::default());
    let parcel =
        || poison("s", &partition(), &received(vec![b'x'; 1 << 20]), &FormatError::Undecodable("no".into()), &clock, &progress);
    let log = Arc::new(Taken::default());
    let post = Post {
        log: log.clone(),
        store: Arc::new(shelf.clone()),
        patience: Patience::new(CancellationToken::new(), Duration::ZERO),
    };
    post.append("x", "dlq", vec![parcel()]).await.expect("appended");
    let path = shelf.paths().remove(0);
    shelf.0.lock().expect("shelf").insert(path.clone(), b"theirs".to_vec());
    post.append("x", "dlq", vec![parcel()]).await.expect("appended");
    let letters: Vec<DeadLetter> =
        log.0.lock().expect("log").iter().map(|m| format::decode(m.value.as_deref().expect("value")).expect("letter")).collect();
    let kept: Vec<String> = letters.iter().flat_map(|letter| letter.kept.clone()).map(|kept| kept.path).collect();
    assert_eq!(kept, [path.clone(), format!("{path}-other")]);
    let [first, second] = [0, 1].map(|at| letters[at].clone());
    assert_eq!(crate::letters::read_back(&shelf, first, Vec::new()).await, Ok(None), "theirs is not taken for ours");
    assert!(crate::letters::read_back(&shelf, second, Vec::new()).await.expect("read").is_some());
}

/// A log that takes everything.
#[derive(Default)]
struct Taken(std::sync::Mutex<Vec<Message>>);

#[async_trait]
impl Log for Taken {
    async fn ensure_topics(&self, _: &[crate::ports::TopicSpec]) -> Result<(), crate::ports::LogError> {
        Ok(())
    }

    async fn append(&self, _: &str, batch: &[Message]) -> Result<(), crate::ports::LogError> {
        self.0.lock().expect("log").extend_from_slice(batch);
        Ok(())
    }

    async fn subscribe(&self, _: &str, _: &[&str]) -> Result<Box<dyn Consumer>, crate::ports::LogError> {
        Err(crate::ports::LogError::Fatal("nobody reads here".into()))
    }
}
