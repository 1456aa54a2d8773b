//! What the NIC keeps per connection on chip, from the definitions of its memories.
use crate::host::events::Pending;
use crate::prelude::Synth;
use crate::tcp::loss::growth::Growth;
use crate::tcp::loss::rack::SendLog;
use crate::tcp::loss::row::ROW;
use crate::tcp::loss::words::WORDS;
use crate::tcp::pages::PageSlot;
use crate::tcp::place::order::Posts;
use crate::tcp::proto::queues::Listed;
use crate::tcp::proto::record::Work;
use crate::tcp::timers::Deadline;
use crate::tcp::tx::search::Cursor;
use crate::tcp::watchdog::Sample;
use chimney_abi::desc::PAGE_SLOTS;

/// Bits of a connection in each memory that has a row or more of each. Ids that are as wide as there are connections count 16 bits. The
/// tables of the lookup, of paths and of neighbors are no connection's own.
pub const STATE: &[(&str, usize)] = &[
    ("record", Work::BITS),
    ("send log", SendLog::BITS),
    ("deadline", Deadline::BITS),
    ("ready list and list of SND.UNA to publish", 2 * Listed::BITS),
    ("loss recovery", WORDS * 32),
    ("growth of the window", Growth::BITS),
    ("CUBIC", ROW * 32),
    ("posts", Posts::BITS),
    ("page map", PAGE_SLOTS as usize * PageSlot::BITS),
    ("pages in use", PAGE_SLOTS as usize),
    ("place in the send ring", Cursor::BITS),
    ("watchdog", Sample::BITS),
    ("event", Pending::BITS + ID),
    ("path", ID),
];
/// Bits of an id.
const ID: usize = 16;
