//! Headers that only certain hosts may see.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use longshore_core::policy::HostPattern;
use longshore_core::secret::Secret;
use url::Url;

use crate::http::OWN_HEADERS;
use crate::tls::SetupError;

/// What each host is sent, by the first pattern that means it.
pub(crate) struct Credentials(Vec<(HostPattern, HeaderMap)>);

impl Credentials {
    /// Checks names and values, so that no request fails for them.
    pub(crate) fn new(configured: &[(HostPattern, Vec<(String, Secret)>)]) -> Result<Self, SetupError> {
        let read = |(host, headers): &(HostPattern, Vec<(String, Secret)>)| Ok((host.clone(), header_map(host, headers)?));
        configured.iter().map(read).collect::<Result<_, _>>().map(Credentials)
    }

    /// The headers for the host of this hop. Nothing for plain HTTP after a request that began with TLS: a redirect
    /// must not bring a secret into the open.
    pub(crate) fn of(&self, first_scheme: &str, hop: &Url) -> Option<&HeaderMap> {
        if first_scheme == "https" && hop.scheme() != "https" {
            return None;
        }
        let host = hop.host()?;
        self.0.iter().find(|(pattern, _)| pattern.matches(&host)).map(|(_, headers)| headers)
    }
}

fn header_map(host: &HostPattern, headers: &[(String, Secret)]) -> Result<HeaderMap, SetupError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let refused = |why| SetupError::Credential { host: host.to_string(), name: name.clone(), why };
        let name = HeaderName::try_from(name.as_str()).map_err(|_| refused("has no valid name"))?;
        if OWN_HEADERS.contains(&name) {
            return Err(refused("is set by longshore alone"));
        }
        let value = sensitive(value).ok_or_else(|| refused("has a value that cannot be sent"))?;
        map.insert(name, value);
    }
    Ok(map)
}

/// A header's value that is not shown.
pub(crate) fn sensitive(value: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
