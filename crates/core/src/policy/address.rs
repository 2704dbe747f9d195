//! Whether an IP address may be dialled.
//!
//! Only globally reachable unicast addresses are, by the IANA IPv4 and IPv6 Special-Purpose Address Registries
//! (RFC 6890 and its updates), unless the policy names a network. IPv6 forms that carry an IPv4 address which a
//! router or the kernel would use instead are judged by that IPv4 address. Where the registries call a block
//! globally reachable but no file can be served from it (anycast services inside 192.0.0.0/24 and 2001::/23), the
//! whole block is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The verdict on one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Whether it may be dialled.
    pub allowed: bool,
    /// What decided.
    pub rule: AddressRule,
}

/// What decided about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressRule {
    /// Globally reachable unicast.
    Public,
    /// A network of `allow_private`.
    AllowPrivate(IpNet),
    /// A special-purpose block, named for people.
    Special(&'static str),
    /// The IPv4 address inside an IPv6 address decided.
    Embedded {
        /// The name of the IPv6 form.
        form: &'static str,
        /// The IPv4 address that it carries.
        address: Ipv4Addr,
        /// What decided about that one.
        rule: Box<AddressRule>,
    },
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressRule::Public => f.write_str("public"),
            AddressRule::AllowPrivate(net) => write!(f, "allow_private {net}"),
            AddressRule::Special(name) => f.write_str(name),
            AddressRule::Embedded { form, address, rule } => write!(f, "{form} of {address}: {rule}"),
        }
    }
}

/// Judges an address. `allow_private` names networks that may be dialled although they are not public; an IPv4
/// network there also covers the IPv6 forms that lead to its addresses. The metadata services of clouds hand out
/// credentials, so they are dialled only when named alone (`/32` or `/128`), not as part of a wider network.
pub fn judge(address: IpAddr, allow_private: &[IpNet]) -> Ruling {
    match address {
        IpAddr::V4(v4) => judge_v4(v4, allow_private),
        IpAddr::V6(v6) => judge_v6(v6, allow_private),
    }
}

/// The IPv4 addresses that an address carries, with the name of the form; for explanations.
pub fn embedded(address: IpAddr) -> Vec<(&'static str, Ipv4Addr)> {
    let IpAddr::V6(v6) = address else { return Vec::new() };
    carried(v6).into_iter().map(|c| (c.form, c.address)).collect()
}

fn judge_v4(address: Ipv4Addr, allow_private: &[IpNet]) -> Ruling {
    if let Some(ruling) = named(IpAddr::V4(address), METADATA_V4.contains(&address), allow_private) {
        return ruling;
    }
    match block(u128::from(u32::from(address)), &BLOCKS_V4) {
        Some(name) => refused(AddressRule::Special(name)),
        None => allowed(AddressRule::Public),
    }
}

fn judge_v6(address: Ipv6Addr, allow_private: &[IpNet]) -> Ruling {
    if let Some(ruling) = named(IpAddr::V6(address), METADATA_V6.contains(&address), allow_private) {
        return ruling;
    }
    let carried = carried(address);
    let rulings: Vec<Ruling> = carried.iter().map(|c| c.judge(allow_private)).collect();
    if let Some(refusal) = rulings.iter().find(|r| !r.allowed) {
        return refusal.clone();
    }
    if let Some(decisive) = carried.iter().position(|c| c.decides) {
        return rulings[decisive].clone();
    }
    match block(u128::from(address), &BLOCKS_V6) {
        Some(name) => refused(AddressRule::Special(name)),
        None if address.segments()[0] & 0xe000 != 0x2000 => refused(AddressRule::Special("outside global unicast 2000::/3")),
        None => allowed(AddressRule::Public),
    }
}

/// The verdict where the policy names the address, or where it is a metadata service that the policy does not name.
fn named(address: IpAddr, metadata: bool, allow_private: &[IpNet]) -> Option<Ruling> {
    let fits = |net: &&IpNet| net.contains(&address) && (!metadata || net.prefix_len() == net.max_prefix_len());
    match allow_private.iter().find(fits) {
        Some(net) => Some(allowed(AddressRule::AllowPrivate(*net))),
        None if metadata => Some(refused(AddressRule::Special("cloud metadata service"))),
        None => None,
    }
}

fn allowed(rule: AddressRule) -> Ruling {
    Ruling { allowed: true, rule }
}

fn refused(rule: AddressRule) -> Ruling {
    Ruling { allowed: false, rule }
}

/// An IPv4 address inside an IPv6 address.
struct Carried {
    form: &'static str,
    address: Ipv4Addr,
    /// Whether packets end at the IPv4 address, so that its verdict is the whole verdict. Otherwise it can only
    /// refuse, and the IPv6 address is judged as well.
    decides: bool,
}

impl Carried {
    fn judge(&self, allow_private: &[IpNet]) -> Ruling {
        let inner = judge_v4(self.address, allow_private);
        let rule = AddressRule::Embedded { form: self.form, address: self.address, rule: Box::new(inner.rule) };
        Ruling { allowed: inner.allowed, rule }
    }
}

fn carried(address: Ipv6Addr) -> Vec<Carried> {
    let bits = u128::from(address);
    let at = |shift: u32| Ipv4Addr::from((bits >> shift) as u32);
    let one = |form, address, decides| vec![Carried { form, address, decides }];
    match address.segments() {
        // Unspecified and loopback have names of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        [0, 0, 0, 0, 0, 0xffff, _, _] => one("IPv4-mapped form", at(0), true),
        [0, 0, 0, 0, 0, 0, _, _] => one("IPv4-compatible form", at(0), false),
        [0, 0, 0, 0, 0xffff, 0, _, _] => one("IPv4-translated form", at(0), false),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => one("NAT64 form", at(0), true),
        [0x64, 0xff9b, 1, ..] => nat64_local(bits),
        [0x2002, ..] => one("6to4 form", at(80), true),
        [0x2001, 0, ..] => {
            let client = Ipv4Addr::from(!(bits as u32));
            [("Teredo server", at(64)), ("Teredo client", client)]
                .map(|(form, address)| Carried { form, address, decides: false })
                .into()
        }
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => one("ISATAP form", at(0), false),
        _ => Vec::new(),
    }
}

/// Where the IPv4 address lies in the local-use NAT64 prefix depends on the translator (RFC 6052 §2.2); the two
/// usual places are a prefix of 48 bits, and one of 96.
fn nat64_local(bits: u128) -> Vec<Carried> {
    let split = (((bits >> 64) as u32) << 16) | ((bits >> 40) as u32 & 0xffff);
    [bits as u32, split].map(|v4| Carried { form: "local NAT64 form", address: Ipv4Addr::from(v4), decides: false }).into()
}

/// A special-purpose block: first address, prefix length, name.
type Block<T> = (T, u32, &'static str);

fn block<T: Copy + Into<Bits>>(address: u128, blocks: &[Block<T>]) -> Option<&'static str> {
    let inside = |&(net, len, _): &Block<T>| {
        let Bits { value, width } = net.into();
        let shift = width - len;
        address >> shift == value >> shift
    };
    blocks.iter().copied().find(inside).map(|(_, _, name)| name)
}

/// An address as a number of `width` bits.
struct Bits {
    value: u128,
    width: u32,
}

impl From<Ipv4Addr> for Bits {
    fn from(address: Ipv4Addr) -> Self {
        Bits { value: u128::from(u32::from(address)), width: 32 }
    }
}

impl From<Ipv6Addr> for Bits {
    fn from(address: Ipv6Addr) -> Self {
        Bits { value: u128::from(address), width: 128 }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

/// AWS, GCP, Azure and others; AWS ECS and EKS credentials; Scaleway; Alibaba; Oracle; Azure's wire server.
const METADATA_V4: [Ipv4Addr; 7] = [
    v4(169, 254, 169, 254),
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v4(169, 254, 42, 42),
    v4(100, 100, 100, 200),
    v4(192, 0, 0, 192),
    v4(168, 63, 129, 16),
];

/// AWS instance and pod credentials; GCP; Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

const BLOCKS_V4: [Block<Ipv4Addr>; 16] = [
    (v4(0, 0, 0, 0), 8, "this network (0.0.0.0/8)"),
    (v4(10, 0, 0, 0), 8, "private (10.0.0.0/8)"),
    (v4(100, 64, 0, 0), 10, "carrier-grade NAT (100.64.0.0/10)"),
    (v4(127, 0, 0, 0), 8, "loopback (127.0.0.0/8)"),
    (v4(169, 254, 0, 0), 16, "link-local (169.254.0.0/16)"),
    (v4(172, 16, 0, 0), 12, "private (172.16.0.0/12)"),
    (v4(192, 0, 0, 0), 24, "protocol assignments (192.0.0.0/24)"),
    (v4(192, 0, 2, 0), 24, "documentation (192.0.2.0/24)"),
    (v4(192, 88, 99, 0), 24, "6to4 relay (192.88.99.0/24)"),
    (v4(192, 168, 0, 0), 16, "private (192.168.0.0/16)"),
    (v4(198, 18, 0, 0), 15, "benchmarking (198.18.0.0/15)"),
    (v4(198, 51, 100, 0), 24, "documentation (198.51.100.0/24)"),
    (v4(203, 0, 113, 0), 24, "documentation (203.0.113.0/24)"),
    (v4(224, 0, 0, 0), 4, "multicast (224.0.0.0/4)"),
    (v4(255, 255, 255, 255), 32, "broadcast (255.255.255.255)"),
    (v4(240, 0, 0, 0), 4, "reserved (240.0.0.0/4)"),
];

const BLOCKS_V6: [Block<Ipv6Addr>; 16] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified (::)"),
    (Ipv6Addr::LOCALHOST, 128, "loopback (::1)"),
    (v6(0, 0, 0, 0), 96, "IPv4-compatible, deprecated (::/96)"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4-translated (::ffff:0:0:0/96)"),
    (v6(0x64, 0xff9b, 1, 0), 48, "local NAT64 (64:ff9b:1::/48)"),
    (v6(0x100, 0, 0, 0), 64, "discard-only (100::/64)"),
    (v6(0x100, 0, 0, 1), 64, "dummy prefix (100:0:0:1::/64)"),
    (v6(0x2001, 0, 0, 0), 32, "Teredo (2001::/32)"),
    (v6(0x2001, 0, 0, 0), 23, "protocol assignments (2001::/23)"),
    (v6(0x2001, 0xdb8, 0, 0), 32, "documentation (2001:db8::/32)"),
    (v6(0x3fff, 0, 0, 0), 20, "documentation (3fff::/20)"),
    (v6(0x5f00, 0, 0, 0), 16, "segment routing (5f00::/16)"),
    (v6(0xfc00, 0, 0, 0), 7, "unique local (fc00::/7)"),
    (v6(0xfe80, 0, 0, 0), 10, "link-local (fe80::/10)"),
    (v6(0xfec0, 0, 0, 0), 10, "site-local, deprecated (fec0::/10)"),
    (v6(0xff00, 0, 0, 0), 8, "multicast (ff00::/8)"),
];

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
