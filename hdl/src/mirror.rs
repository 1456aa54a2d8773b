//! Hardware twins of the contract's records.
//!
//! The same field list that makes the host struct makes a `LogicStruct` here, packed in the same
//! order, least significant first, so a record's vector is its little-endian memory image.
//! Each expansion lives in a module of its own because twin and host struct share their name.

use crate::prelude::*;

/// Expands a field list of `chimney-abi` to a `LogicStruct`.
macro_rules! hdl_record {
    ($(#[$m:meta])* $name:ident, $bits:literal bits; $($(#[doc = $doc:literal])* $f:ident : $w:literal, $t:ty;)*) => {
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
        pub struct $name { $($(#[doc = $doc])* pub $f: Bits<$w>,)* }
    };
}

chimney_abi::command_fields!(hdl_record);
chimney_abi::command_done_fields!(hdl_record);
chimney_abi::tx_desc_fields!(hdl_record);
chimney_abi::rx_done_fields!(hdl_record);
chimney_abi::page_map_fields!(hdl_record);
chimney_abi::event_fields!(hdl_record);
chimney_abi::send_desc_fields!(hdl_record);
chimney_abi::recv_desc_fields!(hdl_record);
chimney_abi::shadow_fields!(hdl_record);
chimney_abi::status_line_fields!(hdl_record);
chimney_abi::image_header_fields!(hdl_record);
chimney_abi::neighbor_fields!(hdl_record);
chimney_abi::path_fields!(hdl_record);
chimney_abi::tcp_record_fields!(hdl_record);
