//! The outside world, as the stages see it.

mod clock;
mod log;
mod lookup;
mod origin;
mod store;
mod table;

pub use clock::{Clock, SystemClock};
pub use log::{
    Consumer, Delivery, Epoch, Group, Log, LogError, LogView, Message, Partition, PartitionState, Position, Received, Retention,
    TopicSpec,
};
pub use lookup::Lookup;
pub use origin::{Body, Opened, Origin, Request};
pub use store::{ObjectMeta, Published, Store, StoreError, Upload};
pub use table::{Appended, LogPosition, Table, TableError};
