//! The shape of an `xact` event: the keys that are read, at their levels. Values are slices of the event.
//!
//! An object is expected at some places where producers put all sorts of things; [`Lenient`] takes those for absent.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize as Derive;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

#[derive(Debug, PartialEq, Default, Derive)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) event_type: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) version: Option<Raw<'a>>,
    #[serde(borrow, rename = "utcDateTime")]
    pub(super) event_time: Option<Raw<'a>>,
    #[serde(borrow, rename = "traceId")]
    pub(super) trace_id: Option<Raw<'a>>,
    #[serde(borrow, rename = "trace_id")]
    pub(super) trace_id_too: Option<Raw<'a>>,
    #[serde(borrow, default)]
    pub(super) data: DataField<'a>,
}

#[derive(Debug, PartialEq, Default, Derive)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data<'a> {
    #[serde(borrow)]
    pub(super) description: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) assignment_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) original_assignment_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) xn_address: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) carrier_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) estimate_version: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) note: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) author: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) sender_reviewer_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) sender_reviewer_email: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) carrier_reviewer_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) carrier_reviewer_email: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) date_time: Option<Raw<'a>>,
    #[serde(borrow, default)]
    pub(super) attachments: List<'a>,
    #[serde(borrow, default)]
    pub(super) adm: Lenient<Adm<'a>>,
    #[serde(borrow, default)]
    pub(super) contact: Lenient<Contact<'a>>,
}

#[derive(Debug, PartialEq, Default, Derive)]
#[serde(rename_all = "camelCase")]
pub(super) struct Adm<'a> {
    #[serde(borrow, default)]
    pub(super) coverage_loss: Lenient<CoverageLoss<'a>>,
}

#[derive(Debug, PartialEq, Default, Derive)]
#[serde(rename_all = "camelCase")]
pub(super) struct CoverageLoss<'a> {
    #[serde(borrow)]
    pub(super) claim_number: Option<Raw<'a>>,
}

#[derive(Debug, PartialEq, Default, Derive)]
pub(super) struct Contact<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) contact_type: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Raw<'a>>,
    #[serde(borrow, default, rename = "contactMethods")]
    pub(super) methods: Lenient<ContactMethods<'a>>,
}

#[derive(Debug, PartialEq, Default, Derive)]
pub(super) struct ContactMethods<'a> {
    #[serde(borrow, default)]
    pub(super) phone: Lenient<Phone<'a>>,
    #[serde(borrow, default)]
    pub(super) email: Lenient<Email<'a>>,
}

#[derive(Debug, PartialEq, Default, Derive)]
pub(super) struct Phone<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) phone_type: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) number: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(super) extension: Option<Raw<'a>>,
}

#[derive(Debug, PartialEq, Default, Derive)]
pub(super) struct Email<'a> {
    #[serde(borrow)]
    pub(super) address: Option<Raw<'a>>,
}

/// What stands at `data`.
#[derive(Debug, PartialEq, Default)]
pub(super) enum DataField<'a> {
    #[default]
    Missing,
    Object(Box<Data<'a>>),
    /// A text, which should hold an object.
    Text(Cow<'a, str>),
    /// Something else, by its name.
    Other(&'static str),
}

/// What stands at `attachments`.
#[derive(Debug, PartialEq, Default)]
pub(super) enum List<'a> {
    #[default]
    Missing,
    /// A list; null entries are nothing.
    Entries(Vec<Option<Raw<'a>>>),
    Other,
}

/// Any value, as it stands in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a>(pub(super) &'a str);

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Raw(value.get()))
    }
}

/// An object, or nothing where something else stands.
#[derive(Debug, PartialEq)]
pub(super) struct Lenient<T>(pub(super) Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Lenient(None)
    }
}

/// A place where any JSON may stand, sorted by its kind.
trait AnyJson<'de>: Sized {
    fn other(kind: &'static str) -> Self;
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
    fn null() -> Self {
        Self::other("null")
    }
    fn text(_: Cow<'de, str>) -> Self {
        Self::other("a text")
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::other("a list"))
    }
}

struct Sort<T>(PhantomData<T>);

impl<'de, T: AnyJson<'de>> Visitor<'de> for Sort<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Ok(T::other("true or false"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Ok(T::other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Ok(T::other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Ok(T::other("a number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<T, E> {
        Ok(T::text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }
}

fn skip<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> AnyJson<'de> for DataField<'de> {
    fn other(kind: &'static str) -> Self {
        DataField::Other(kind)
    }

    fn null() -> Self {
        DataField::Missing
    }

    fn text(text: Cow<'de, str>) -> Self {
        DataField::Text(text)
    }

    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Data::deserialize(MapAccessDeserializer::new(map)).map(|data| DataField::Object(Box::new(data)))
    }
}

impl<'de> AnyJson<'de> for List<'de> {
    fn other(_: &'static str) -> Self {
        List::Other
    }

    fn null() -> Self {
        List::Missing
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(List::Entries(entries))
    }

    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        skip(map).map(|()| List::Other)
    }
}

impl<'de, T: Deserialize<'de>> AnyJson<'de> for Lenient<T> {
    fn other(_: &'static str) -> Self {
        Lenient(None)
    }

    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|value| Lenient(Some(value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DataField<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sort::<DataField<'de>>(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sort::<List<'de>>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sort(PhantomData))
    }
}
