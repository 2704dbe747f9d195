//! What may be fetched: the verdict on a URL and on an address.
