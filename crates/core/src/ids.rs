//! Ids: the same attachment gets the same id wherever and whenever it is computed (RFC 9562 §5.5, UUIDv5).

use std::hash::{DefaultHasher, Hash, Hasher};

use sha1::{Digest, Sha1};
use uuid::{Builder, Uuid};

use crate::policy::redact::identity;

/// UUIDv5(URL namespace, `longshore:event_key`): the namespace of [`event_key`].
const EVENT_KEY_NAMESPACE: Uuid = Uuid::from_u128(0x0d5a_b8c1_8f0a_59e3_9890_d3e6_e272_094c);

/// UUIDv5 of the parts, one after the other (RFC 9562 §5.5). The same as [`Uuid::new_v5`], with the processor's own SHA-1
/// where it has one: an event's key hashes all of it.
pub fn v5(namespace: &Uuid, parts: &[&[u8]]) -> Uuid {
    let digest = parts.iter().fold(Sha1::new_with_prefix(namespace.as_bytes()), |sha1, part| sha1.chain_update(part)).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Builder::from_sha1_bytes(id).into_uuid()
}

/// The id of an attachment of the preset `urls`, which is also the `trace_id` of its event:
/// UUIDv5(URL namespace, identity of the URL).
pub fn url_media_id(url: &str) -> Uuid {
    v5(&Uuid::NAMESPACE_URL, &[identity(url).as_bytes()])
}

/// The namespace of attachments of the preset `xact`: UUIDv5(URL namespace, `http://nsmkdvPipe/media_id`).
pub const XACT_MEDIA_NAMESPACE: Uuid = Uuid::from_u128(0x63b5_635e_4ed0_53e3_9381_ab45_f5a8_3235);
/// The namespace of event ids of the preset `xact`.
pub const XACT_EVENT_NAMESPACE: Uuid = Uuid::from_u128(0xb8ec_3745_17c7_5a5a_afbd_9b81_a1a7_1824);

/// The namespace of the attachments of a source: UUIDv5(URL namespace, `longshore:source:{name}`).
pub fn source_namespace(source: &str) -> Uuid {
    v5(&Uuid::NAMESPACE_URL, &[b"longshore:source:", source.as_bytes()])
}

/// The id of an attachment: UUIDv5(namespace, `trace_id:identity`).
pub fn media_id(namespace: &Uuid, trace_id: &str, identity: &str) -> Uuid {
    v5(namespace, &[trace_id.as_bytes(), b":", identity.as_bytes()])
}

/// Tells URLs of one attachment apart: two that differ in their signature alone have one id. The same text has the same
/// hash within a process only.
pub fn url_hash(url: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    url.trim().hash(&mut hasher);
    hasher.finish()
}

/// The key of an event in the events table: the same bytes are the same event.
pub fn event_key(raw: &[u8]) -> Uuid {
    v5(&EVENT_KEY_NAMESPACE, &[raw])
}

/// The key of an enriched event: the same bytes with the same attachments are the same event. An endpoint that knows more
/// when it is asked again makes another row, or nothing would tell where the further attachments are from.
pub fn enriched_event_key(raw: &[u8], mut media_ids: Vec<Uuid>) -> Uuid {
    media_ids.sort_unstable();
    media_ids.dedup();
    let ids = media_ids.iter().map(|id| id.as_bytes().as_slice());
    v5(&EVENT_KEY_NAMESPACE, &std::iter::once(raw).chain(ids).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_standard() {
        for length in [0, 1, 39, 40, 63, 64, 65, 1_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let (left, right) = bytes.split_at(bytes.len() / 3);
            assert_eq!(v5(&Uuid::NAMESPACE_OID, &[left, right]), Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes), "{length} bytes");
        }
    }

    #[test]
    fn the_namespace_is_derived_as_said() {
        assert_eq!(EVENT_KEY_NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"longshore:event_key"));
    }

    #[test]
    fn the_ids_of_xact_are_those_of_its_producers() {
        assert_eq!(XACT_MEDIA_NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"http://nsmkdvPipe/media_id"));
        let id = media_id(&XACT_MEDIA_NAMESPACE, "abc123", "https://xactware.com/docs/estimate.pdf");
        assert_eq!(id.to_string(), "6d7ab70c-874d-5ff2-8698-454e7a9d3e4d");
    }

    #[test]
    fn a_url_has_one_id_however_it_is_signed() {
        let plain = url_media_id("https://example.com/a.pdf");
        assert_eq!(plain.to_string(), "d6d9f86f-ce1c-5f56-8dea-beeded6e3ea7");
        let signed = "https://example.com/a.pdf?AWSAccessKeyId=K&Expires=1&Signature=abc";
        let again = "https://example.com/a.pdf?Expires=2&Signature=def&AWSAccessKeyId=K";
        assert_eq!(url_media_id(signed), plain);
        assert_eq!(url_media_id(again), plain);
        assert_ne!(url_media_id("https://example.com/a.pdf?Signature=abc"), plain);
    }
}
