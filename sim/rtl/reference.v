// A small fixed device with the port names of the NIC: the yardstick of simulation speed, and the partner
// in the tests of the bus models. It is not part of the NIC, and it is never changed for speed.
//
//   registers (AXI4-Lite)  0x00/0x04 source, 0x08/0x0c destination, 0x10 bursts of 256 bytes to copy (writing it starts),
//                          0x14 bursts left, 0x18 error responses seen
//   copy engine (AXI4)     reads a burst, adds 1 to each 64-bit word, writes it, waits for the response
//   loopback (AXI-Stream)  frames come back after a 16-beat FIFO
//   irq                    high for one clock when a copy is complete
module reference (
    input  wire        clock,
    input  wire        reset,
    output reg         irq,
    // AXI4-Lite slave
    input  wire [15:0] s_axil_awaddr,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output reg  [1:0]  s_axil_bresp,
    output reg         s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [15:0] s_axil_araddr,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output reg  [31:0] s_axil_rdata,
    output reg  [1:0]  s_axil_rresp,
    output reg         s_axil_rvalid,
    input  wire        s_axil_rready,
    // AXI4 master
    output wire [63:0] m_axi_araddr,
    output wire [7:0]  m_axi_arlen,
    output wire [2:0]  m_axi_arsize,
    output wire [1:0]  m_axi_arburst,
    output wire [3:0]  m_axi_arid,
    output wire        m_axi_arvalid,
    input  wire        m_axi_arready,
    input  wire [63:0] m_axi_rdata,
    input  wire [3:0]  m_axi_rid,
    input  wire [1:0]  m_axi_rresp,
    input  wire        m_axi_rlast,
    input  wire        m_axi_rvalid,
    output wire        m_axi_rready,
    output wire [63:0] m_axi_awaddr,
    output wire [7:0]  m_axi_awlen,
    output wire [2:0]  m_axi_awsize,
    output wire [1:0]  m_axi_awburst,
    output wire [3:0]  m_axi_awid,
    output wire        m_axi_awvalid,
    input  wire        m_axi_awready,
    output wire [63:0] m_axi_wdata,
    output wire [7:0]  m_axi_wstrb,
    output wire        m_axi_wlast,
    output wire        m_axi_wvalid,
    input  wire        m_axi_wready,
    input  wire [3:0]  m_axi_bid,
    input  wire [1:0]  m_axi_bresp,
    input  wire        m_axi_bvalid,
    output wire        m_axi_bready,
    // AXI-Stream from and to the MAC
    input  wire [63:0] s_axis_tdata,
    input  wire [7:0]  s_axis_tkeep,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,
    input  wire        s_axis_tuser,
    output wire [63:0] m_axis_tdata,
    output wire [7:0]  m_axis_tkeep,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,
    output wire        m_axis_tuser
);
    // ---- registers: address and data are taken together, one access at a time ----
    reg [63:0] source, target;
    reg [31:0] left, errors;
    reg        start;
    wire write_now = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
    wire read_now = s_axil_arvalid && !s_axil_rvalid;
    assign s_axil_awready = write_now;
    assign s_axil_wready = write_now;
    assign s_axil_arready = read_now;
    reg [31:0] read_value;
    always @(*) begin
        case (s_axil_araddr)
            16'h00: read_value = source[31:0];
            16'h04: read_value = source[63:32];
            16'h08: read_value = target[31:0];
            16'h0c: read_value = target[63:32];
            16'h14: read_value = left;
            16'h18: read_value = errors;
            default: read_value = 32'hffff_ffff;
        endcase
    end

    // ---- copy engine ----
    localparam IDLE = 3'd0, READ = 3'd1, FILL = 3'd2, WRITE = 3'd3, ANSWER = 3'd4;
    reg [2:0]  state;
    reg [63:0] buffer [0:31];
    reg [5:0]  at;
    reg        aw_done;
    assign m_axi_araddr = source;
    assign m_axi_arlen = 8'd31;
    assign m_axi_arsize = 3'd3;
    assign m_axi_arburst = 2'd1;
    assign m_axi_arid = left[3:0];
    assign m_axi_arvalid = state == READ;
    assign m_axi_rready = state == FILL;
    assign m_axi_awaddr = target;
    assign m_axi_awlen = 8'd31;
    assign m_axi_awsize = 3'd3;
    assign m_axi_awburst = 2'd1;
    assign m_axi_awid = left[3:0];
    assign m_axi_awvalid = state == WRITE && !aw_done;
    assign m_axi_wdata = buffer[at[4:0]];
    assign m_axi_wstrb = 8'hff;
    assign m_axi_wlast = at == 6'd31;
    assign m_axi_wvalid = state == WRITE && at < 6'd32;
    assign m_axi_bready = state == ANSWER;
    wire w_taken = m_axi_wvalid && m_axi_wready;
    wire aw_taken = m_axi_awvalid && m_axi_awready;

    always @(posedge clock) begin
        irq <= 1'b0;
        start <= 1'b0;
        if (s_axil_bready) s_axil_bvalid <= 1'b0;
        if (s_axil_rready) s_axil_rvalid <= 1'b0;
        if (read_now) begin
            s_axil_rvalid <= 1'b1;
            s_axil_rdata <= read_value;
            s_axil_rresp <= 2'd0;
        end
        if (write_now) begin
            s_axil_bvalid <= 1'b1;
            s_axil_bresp <= 2'd0;
            case (s_axil_awaddr)
                16'h00: source[31:0] <= s_axil_wdata;
                16'h04: source[63:32] <= s_axil_wdata;
                16'h08: target[31:0] <= s_axil_wdata;
                16'h0c: target[63:32] <= s_axil_wdata;
                16'h10: begin left <= s_axil_wdata; start <= 1'b1; end
                default: s_axil_bresp <= 2'd2;
            endcase
        end
        case (state)
            IDLE: if (start) state <= left == 32'd0 ? IDLE : READ;
            READ: if (m_axi_arready) begin
                state <= FILL;
                at <= 6'd0;
            end
            FILL: if (m_axi_rvalid) begin
                buffer[at[4:0]] <= m_axi_rdata + 64'd1;
                at <= at + 6'd1;
                if (m_axi_rresp != 2'd0) errors <= errors + 32'd1;
                if (m_axi_rlast) begin
                    state <= WRITE;
                    at <= 6'd0;
                    aw_done <= 1'b0;
                end
            end
            WRITE: begin
                if (w_taken) at <= at + 6'd1;
                if (aw_taken) aw_done <= 1'b1;
                if ((aw_done || aw_taken) && (at == 6'd32 || (w_taken && at == 6'd31))) state <= ANSWER;
            end
            ANSWER: if (m_axi_bvalid) begin
                if (m_axi_bresp != 2'd0) errors <= errors + 32'd1;
                source <= source + 64'd256;
                target <= target + 64'd256;
                left <= left - 32'd1;
                irq <= left == 32'd1;
                state <= left == 32'd1 ? IDLE : READ;
            end
            default: state <= IDLE;
        endcase
        if (reset) begin
            state <= IDLE;
            start <= 1'b0;
            left <= 32'd0;
            errors <= 32'd0;
            source <= 64'd0;
            target <= 64'd0;
            s_axil_bvalid <= 1'b0;
            s_axil_rvalid <= 1'b0;
        end
    end

    // ---- loopback ----
    reg [73:0] fifo [0:15];
    reg [4:0]  put, get;
    wire full = put[3:0] == get[3:0] && put[4] != get[4];
    wire empty = put == get;
    assign s_axis_tready = !full;
    assign m_axis_tvalid = !empty;
    assign {m_axis_tuser, m_axis_tlast, m_axis_tkeep, m_axis_tdata} = fifo[get[3:0]];
    always @(posedge clock) begin
        if (s_axis_tvalid && !full) begin
            fifo[put[3:0]] <= {s_axis_tuser, s_axis_tlast, s_axis_tkeep, s_axis_tdata};
            put <= put + 5'd1;
        end
        if (m_axis_tready && !empty) get <= get + 5'd1;
        if (reset) begin
            put <= 5'd0;
            get <= 5'd0;
        end
    end
endmodule
