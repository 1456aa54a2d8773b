// The C face of one Verilated model: life cycle, eval, wave. The port table is generated behind it.
//
// CHIMNEY_MODEL(reference) defines reference_new, reference_delete, reference_eval and so on for class Vreference. One context per
// model, so that models do not share time, random state or threads.
#pragma once
#include <cstdint>
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

struct ChimneyTrace {
#if VM_TRACE
    VerilatedFstC file;
#endif
};

#if VM_TRACE
#define CHIMNEY_TRACE(top)                                                                                                      \
    void* top##_trace_open(void* m, const char* path) {                                                                    \
        auto* trace = new ChimneyTrace;                                                                                        \
        static_cast<V##top*>(m)->trace(&trace->file, 99);                                                                      \
        trace->file.open(path);                                                                                                \
        if (!trace->file.isOpen()) {                                                                                           \
            delete trace;                                                                                                      \
            return nullptr;                                                                                                    \
        }                                                                                                                      \
        return trace;                                                                                                          \
    }                                                                                                                          \
    void top##_trace_dump(void* t, uint64_t time) { static_cast<ChimneyTrace*>(t)->file.dump(time); }                        \
    void top##_trace_close(void* t) {                                                                                          \
        static_cast<ChimneyTrace*>(t)->file.close();                                                                           \
        delete static_cast<ChimneyTrace*>(t);                                                                                  \
    }
#else
#define CHIMNEY_TRACE(top)                                                                                                      \
    void* top##_trace_open(void*, const char*) { return nullptr; }                                                         \
    void top##_trace_dump(void*, uint64_t) {}                                                                                  \
    void top##_trace_close(void*) {}
#endif

#define CHIMNEY_MODEL(top)                                                                                                      \
    extern "C" {                                                                                                               \
    void* top##_new() {                                                                                                        \
        auto* context = new VerilatedContext;                                                                                  \
        context->traceEverOn(VM_TRACE);                                                                                        \
        return new V##top{context};                                                                                            \
    }                                                                                                                          \
    void top##_delete(void* m) {                                                                                               \
        auto* model = static_cast<V##top*>(m);                                                                                 \
        auto* context = model->contextp();                                                                                     \
        model->final();                                                                                                        \
        delete model;                                                                                                          \
        delete context;                                                                                                        \
    }                                                                                                                          \
    void top##_eval(void* m) { static_cast<V##top*>(m)->eval(); }                                                            \
    CHIMNEY_TRACE(top)                                                                                                         \
    }
