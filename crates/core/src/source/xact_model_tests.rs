//! A thousand generated events, read by the fast path and by a slow model over a tree of values that shares no code
//! with it: the rules of the producers' format, written a second time.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::*;

/// What the model finds: nothing is a poison event.
#[derive(Debug, PartialEq)]
struct Found {
    trace_id: String,
    event_type: String,
    event_id: Option<String>,
    event_time: Option<String>,
    columns: Columns,
    task_columns: Columns,
    urls: Vec<String>,
    odd: usize,
    without_list: bool,
}

fn model(event: &Value) -> Option<Found> {
    let event = event.as_object()?;
    let event_type = event.get("type")?.as_str()?.trim();
    let trace_id = model_trace_id(event)?;
    let version = match event.get("version").unwrap_or(&Value::Null) {
        Value::Null => "1".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let data = model_data(event.get("data"))?;
    let (urls, odd, without_list) = model_list(data.get("attachments"));
    let subtype = match event_type.rsplit_once('.').map(|(_, last)| last.trim()) {
        Some(last) if !last.is_empty() => last,
        _ => event_type,
    };
    let mut columns = model_columns(&data);
    columns.insert("status_subtype".into(), subtype.into());
    columns.insert("version".into(), version);
    if !urls.is_empty() {
        columns.insert("attachments".into(), urls.iter().map(|url| redact_url(url)).collect::<Vec<_>>().join(","));
    }
    let carried = ["status_subtype", "assignment_id", "estimate_version"];
    let kept = |(name, value): (&Cow<'static, str>, &String)| carried.contains(&&**name).then(|| (name.clone(), value.clone()));
    let time = event.get("utcDateTime").and_then(Value::as_str).map(str::trim).filter(|text| (1..=64).contains(&text.len()));
    (!event_type.is_empty()).then(|| Found {
        event_id: Some(uuid::Uuid::new_v5(&XACT_EVENT_NAMESPACE, trace_id.as_bytes()).to_string()),
        trace_id,
        event_type: event_type.to_owned(),
        event_time: time.map(str::to_owned),
        task_columns: columns.iter().filter_map(kept).filter(|(_, value)| !value.trim().is_empty()).collect(),
        columns,
        urls,
        odd,
        without_list,
    })
}

fn scalar_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn model_trace_id(event: &Map<String, Value>) -> Option<String> {
    for name in ["traceId", "trace_id"] {
        match event.get(name).unwrap_or(&Value::Null) {
            Value::Null => {}
            value => match scalar_of(value)? {
                id if id.is_empty() => {}
                id => return Some(id),
            },
        }
    }
    None
}

fn model_data(data: Option<&Value>) -> Option<Map<String, Value>> {
    match data.unwrap_or(&Value::Null) {
        Value::Null => Some(Map::new()),
        Value::Object(object) => Some(object.clone()),
        Value::String(text) => match serde_json::from_str(text).ok()? {
            Value::Null => Some(Map::new()),
            Value::Object(object) => Some(object),
            _ => None,
        },
        _ => None,
    }
}

fn model_list(list: Option<&Value>) -> (Vec<String>, usize, bool) {
    let entries = match list.unwrap_or(&Value::Null) {
        Value::Null => return (Vec::new(), 0, false),
        Value::Array(entries) => entries,
        _ => return (Vec::new(), 0, true),
    };
    let texts = entries.iter().filter_map(Value::as_str).map(str::trim).filter(|url| !url.is_empty());
    let odd = entries.iter().filter(|entry| !entry.is_null() && !entry.is_string()).count();
    (texts.map(str::to_owned).collect(), odd, false)
}

/// The columns from `data`, each with the way to it.
const WAYS: [(&str, &str); 20] = [
    ("description", "/description"),
    ("assignment_id", "/assignmentId"),
    ("original_assignment_id", "/originalAssignmentId"),
    ("xn_address", "/xnAddress"),
    ("carrier_id", "/carrierId"),
    ("estimate_version", "/estimateVersion"),
    ("note", "/note"),
    ("author", "/author"),
    ("sender_reviewer_name", "/senderReviewerName"),
    ("sender_reviewer_email", "/senderReviewerEmail"),
    ("carrier_reviewer_name", "/carrierReviewerName"),
    ("carrier_reviewer_email", "/carrierReviewerEmail"),
    ("event_datetime_mdt", "/dateTime"),
    ("claim_number", "/adm/coverageLoss/claimNumber"),
    ("contact_type", "/contact/type"),
    ("contact_name", "/contact/name"),
    ("contact_phone_type", "/contact/contactMethods/phone/type"),
    ("contact_phone_number", "/contact/contactMethods/phone/number"),
    ("contact_phone_extension", "/contact/contactMethods/phone/extension"),
    ("contact_email_address", "/contact/contactMethods/email/address"),
];

fn model_columns(data: &Map<String, Value>) -> Columns {
    let data = Value::Object(data.clone());
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let value = |(name, way): &(&'static str, &str)| Some((Cow::Borrowed(*name), text(data.pointer(way)?)?));
    let mut columns: Columns = WAYS.iter().filter_map(value).collect();
    if columns.get("assignment_id").is_some_and(|id| id.trim().is_empty()) {
        columns.remove("assignment_id");
    }
    columns
}

/// Values of every kind, as producers put them where something else was agreed.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[ -~é\u{1F600}\\n\"]{0,12}".prop_map(Value::from),
        2 => any::<u64>().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(json!(1.5)),
        2 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!([1, {"a": null}])),
        1 => Just(json!({"type": "x", "n": [2]})),
    ]
}

/// Mostly what was agreed, sometimes anything, sometimes nothing.
fn mostly(agreed: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![10 => agreed.prop_map(Some), 1 => any_value().prop_map(Some), 1 => Just(None)]
}

fn object(members: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let zip = move |values: Vec<Option<Value>>| {
        let given = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Value::Object(given.collect())
    };
    values.prop_map(zip).boxed()
}

fn texts(pattern: &'static str) -> BoxedStrategy<Option<Value>> {
    mostly(pattern.prop_map(Value::from)).boxed()
}

fn ids() -> BoxedStrategy<Option<Value>> {
    mostly(prop_oneof!["[a-zA-Z0-9-]{1,20}".prop_map(Value::from), any::<u64>().prop_map(Value::from)]).boxed()
}

fn times() -> BoxedStrategy<Option<Value>> {
    let zone = select(vec!["Z", "+00:00", "-07:00", ""]);
    let time = (0i64..2_000_000_000_000_000, select(vec!["T", " "]), zone).prop_map(|(micros, between, zone)| {
        let time = chrono::DateTime::from_timestamp_micros(micros).expect("a time");
        Value::from(format!("{}{zone}", time.format(&format!("%Y-%m-%d{between}%H:%M:%S%.6f"))))
    });
    mostly(time).boxed()
}

fn lists() -> BoxedStrategy<Option<Value>> {
    let entry = prop_oneof![
        6 => "https://h[.]example/[a-z]{1,3}/[a-z ]{0,4}[.]?(pdf|JPG)?([?]sig=s&sv=1&se=2)?".prop_map(Value::from),
        1 => any_value(),
    ];
    mostly(proptest::collection::vec(entry, 0..6).prop_map(Value::from)).boxed()
}

fn datas() -> impl Strategy<Value = Value> {
    let phone = object(vec![("type", texts("[a-z]{1,5}")), ("number", ids()), ("extension", ids())]);
    let email = object(vec![("address", texts("[a-z]{1,5}@x"))]);
    let methods = object(vec![("phone", mostly(phone).boxed()), ("email", mostly(email).boxed())]);
    let contact =
        object(vec![("type", texts("[a-z]{1,5}")), ("name", texts("[a-z]{1,5}")), ("contactMethods", mostly(methods).boxed())]);
    let loss = object(vec![("claimNumber", ids())]);
    let adm = object(vec![("coverageLoss", mostly(loss).boxed())]);
    let plain = WAYS.iter().filter(|(_, way)| way.matches('/').count() == 1);
    let mut members: Vec<_> = plain.map(|(_, way)| (&way[1..], texts("[ -~é]{0,10}"))).collect();
    members.extend([("attachments", lists()), ("adm", mostly(adm).boxed()), ("contact", mostly(contact).boxed())]);
    members.extend([("unread", texts(".{0,5}"))]);
    // A member is generated once: the agreed kinds of these two are wider.
    for (name, value) in &mut members {
        if matches!(*name, "assignmentId" | "estimateVersion") {
            *value = ids();
        }
    }
    object(members)
}

pub(crate) fn events() -> impl Strategy<Value = Value> {
    let data = prop_oneof![3 => datas(), 1 => datas().prop_map(|data| Value::from(data.to_string()))];
    let versions = prop_oneof![any::<i64>().prop_map(Value::from), "[0-9.]{1,5}".prop_map(Value::from)];
    object(vec![
        ("type", texts(" ?[a-z]{0,4}([.][a-zA-Z]{0,8}){0,3} ?")),
        ("version", mostly(versions).boxed()),
        ("utcDateTime", times()),
        ("traceId", ids()),
        ("trace_id", ids()),
        ("eventId", prop_oneof![Just(Some(Value::Null)), ids()].boxed()),
        ("data", mostly(data).boxed()),
        ("unread", mostly(any_value()).boxed()),
    ])
}

fn found(decoded: Decoded) -> Found {
    let url = |item: &Item| if let Item::Url(link) = item { Some(link.url.clone()) } else { None };
    let urls: Vec<String> = decoded.items.iter().filter_map(url).collect();
    Found {
        trace_id: decoded.trace_id.expect("an id"),
        event_type: decoded.event_type.unwrap_or_default(),
        event_id: decoded.event_id,
        event_time: decoded.event_time,
        columns: decoded.columns,
        task_columns: decoded.task_columns,
        odd: decoded.items.len() - urls.len(),
        urls,
        without_list: decoded.without_list,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_reads_what_the_model_reads(event in events()) {
        let bytes = event.to_string();
        let read = decode(&RawEvent::of(bytes.as_bytes(), 0), Purpose::Row).map(found).ok();
        prop_assert_eq!(read, model(&event));
        let tasks = decode(&RawEvent::of(bytes.as_bytes(), 0), Purpose::Tasks).map(found).ok();
        let without_row = |found: Found| Found { columns: Columns::new(), event_id: None, event_type: String::new(), ..found };
        prop_assert_eq!(tasks, model(&event).map(without_row));
    }

    #[test]
    fn no_bytes_are_too_odd(event in events(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = event.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&RawEvent::of(&bytes, 0), Purpose::Row);
        let _ = decode(&RawEvent::of(&bytes[..at], 0), Purpose::Row);
    }
}

#[test]
fn the_generator_makes_accepted_and_poison_events() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let sample = |_| events().new_tree(&mut runner).expect("an event").current();
    let accepted = (0..200).map(sample).filter(|event| model(event).is_some()).count();
    assert!((60..195).contains(&accepted), "{accepted} of 200 are accepted");
}
