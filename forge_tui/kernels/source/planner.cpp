// Training steps of planners (forge_tui/training/models/planner.py): forward pass, backward pass and Adam, for one model
// after the other, so that a model's weights and moments stay in the cache for all steps of a call.
//
// Activations are transposed: (width, samples), a sample per lane, with whole vectors of samples. So the forward and the
// backward pass read weights as they lie, (inputs, outputs), one number at a time, and no width is padded. Gradients of
// weights need one factor with a sample per row. They exist for a few rows of a matrix at a time only: Adam takes them
// from there.
//
// A model's numbers depend on its own weights, data and settings only, not on the models beside it, nor on how many
// steps a call takes.

#include "adam.h"
#include "loss.h"
#include "product.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

extern "C" {

// What is equal for all models and steps. Also in forge_tui/kernels/planner.py.
struct Plan {
    int32_t features, width, hidden, depth, outputs;
    int32_t batch;      // samples of a step, but for the last of an epoch
    int32_t is_classes; // cross entropy, else mean squared error
    int32_t is_decoupled;
    double beta1, beta2, epsilon;
    double smoothing;
    const float* class_weights;  // null: equal
};

// Some steps of one epoch. Also in forge_tui/kernels/planner.py.
struct Steps {
    int32_t first_model, models;
    int32_t steps;
    int64_t first_sample, samples;  // of the first step; of the epoch
    int64_t before;                 // steps taken before these
    const float* inputs;            // (rows of the data, features)
    const void* targets;            // int64 (rows), or float (rows, outputs)
    const int64_t* orders;          // (all models, samples): rows of the data
    const double* rates;            // (steps, all models): learning rates
    int64_t rates_pitch;
    const double* decays;           // (all models)
    double* losses;                 // (all models): the sums over samples grow
    float* const* weights;          // of each parameter all models' numbers, model after model
    float* const* averages;
    float* const* squares;
    float* scratch;                 // scratch_size(plan) numbers
};

int lanes() { return kLanes; }
}

namespace {

constexpr float kNormEpsilon = 1e-5f;
constexpr int kAlignment = 16;

// Flushes numbers below 1e-38 to 0, as training does (forge_tui/training/process.py), whichever thread this is.
class Flushing {
#if defined(__SSE__)
    const unsigned before = _mm_getcsr();

   public:
    Flushing() { _mm_setcsr(before | 0x8040); }
    ~Flushing() { _mm_setcsr(before); }
#elif defined(__aarch64__)
    uint64_t before;

   public:
    Flushing() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" : : "r"(before | (uint64_t(1) << 24)));
    }
    ~Flushing() { asm volatile("msr fpcr, %0" : : "r"(before)); }
#endif
};

// A weight or bias of one model, with its moments.
struct Parameter {
    float *weight, *average, *square;

    void step(const Adam& adam, const float* gradient, int first, int count) const {
        update(adam, gradient, weight + first, average + first, square + first, count);
    }
};

struct Linear {
    Parameter weight, bias;
    int inputs, outputs;
};

struct Block {
    Parameter scale, shift;
    Linear inner, outer;
};

// Where activations and gradients lie, for batches of up to `plan.batch` samples.
struct Buffers {
    Buffers(const Plan& plan, float* memory) : memory(memory) {
        const int columns = whole(plan.batch), width = whole(plan.width), hidden = whole(plan.hidden);
        const int outputs = whole(plan.outputs);
        const int widest = width > hidden ? (width > outputs ? width : outputs) : (hidden > outputs ? hidden : outputs);
        inputs = take(ptrdiff_t(plan.features) * columns);
        state = take(ptrdiff_t(plan.depth + 1) * width * columns);
        normed = take(ptrdiff_t(plan.depth) * width * columns);
        scaled = take(ptrdiff_t(plan.depth) * width * columns);
        active = take(ptrdiff_t(plan.depth) * hidden * columns);
        deviation = take(ptrdiff_t(plan.depth) * columns);
        out = take(ptrdiff_t(outputs) * columns);
        state_gradient = take(ptrdiff_t(width) * columns);
        hidden_gradient = take(ptrdiff_t(hidden) * columns);
        scaled_gradient = take(ptrdiff_t(width) * columns);
        by_sample = take(ptrdiff_t(columns) * widest);
        // A row more: the last vector of a row may reach beyond it.
        gradient = take(ptrdiff_t(kMostRows + 1) * widest + kLanes);
    }

    float *inputs, *state, *normed, *scaled, *active, *deviation, *out;
    float *state_gradient, *hidden_gradient, *scaled_gradient, *by_sample, *gradient;
    ptrdiff_t taken = 0;  // numbers of all

   private:
    float* const memory;  // null: only `taken` is wanted

    float* take(ptrdiff_t count) {
        float* place = memory ? memory + taken : nullptr;
        taken += (count + kAlignment - 1) / kAlignment * kAlignment;
        return place;
    }
};

class Model {
   public:
    Model(const Plan& plan, const Steps& steps, int model)
        : plan(plan), data(steps), buffers(plan, steps.scratch) {
        int number = 0;
        auto parameter = [&](ptrdiff_t count) {
            const ptrdiff_t first = count * model;
            const Parameter found{steps.weights[number] + first, steps.averages[number] + first,
                                  steps.squares[number] + first};
            ++number;
            return found;
        };
        auto linear = [&](int inputs, int outputs) {
            const Parameter weight = parameter(ptrdiff_t(inputs) * outputs);
            return Linear{weight, parameter(outputs), inputs, outputs};
        };
        enter = linear(plan.features, plan.width);
        for (int block = 0; block < plan.depth; ++block) {
            const Parameter scale = parameter(plan.width), shift = parameter(plan.width);
            const Linear inner = linear(plan.width, plan.hidden);
            blocks[block] = Block{scale, shift, inner, linear(plan.hidden, plan.width)};
        }
        leave = linear(plan.width, plan.outputs);
    }

    // One step; the mean loss of the batch.
    double step(const Batch& batch, const Adam& adam) {
        count = batch.count;
        columns = whole(count);
        gather(batch);
        const double loss = forward(batch);
        backward(adam);
        return loss;
    }

    static constexpr int kMostBlocks = 16;

   private:
    const Plan& plan;
    const Steps& data;
    Buffers buffers;
    Linear enter, leave;
    Block blocks[kMostBlocks];
    int count = 0, columns = 0;

    float* of_block(float* all, int block, int rows) const { return all + ptrdiff_t(block) * whole(rows) * columns; }

    void gather(const Batch& batch) {
        const int features = plan.features, whole_features = features / kLanes * kLanes;
        for (int first = 0; first < columns; first += kLanes) {
            const float* rows[kLanes];
            for (int lane = 0; lane < kLanes; ++lane)  // columns beyond the batch repeat its last sample
                rows[lane] = data.inputs +
                             batch.rows[first + lane < count ? first + lane : count - 1] * ptrdiff_t(features);
            float* to = buffers.inputs + first;
            for (int feature = 0; feature < whole_features; feature += kLanes) {
                Vector square[kLanes];
#pragma GCC unroll 16
                for (int lane = 0; lane < kLanes; ++lane) square[lane] = load(rows[lane] + feature);
                transpose(square);
#pragma GCC unroll 16
                for (int lane = 0; lane < kLanes; ++lane) store(to + ptrdiff_t(feature + lane) * columns, square[lane]);
            }
            for (int feature = whole_features; feature < features; ++feature)
                for (int lane = 0; lane < kLanes; ++lane) to[ptrdiff_t(feature) * columns + lane] = rows[lane][feature];
        }
    }

    void apply(const Linear& layer, const float* from, float* to, Around around) {
        around.bias = layer.bias.weight;
        product<true>(layer.weight.weight, layer.outputs, from, to, layer.outputs, columns, layer.inputs, around);
    }

    double forward(const Batch& batch) {
        apply(enter, buffers.inputs, buffers.state, {});
        for (int block = 0; block < plan.depth; ++block) {
            const float* state = of_block(buffers.state, block, plan.width);
            float* scaled = of_block(buffers.scaled, block, plan.width);
            float* active = of_block(buffers.active, block, plan.hidden);
            normalise(block, state, scaled);
            Around relu, residual;
            relu.relu = true;
            apply(blocks[block].inner, scaled, active, relu);
            residual.added = state;
            apply(blocks[block].outer, active, of_block(buffers.state, block + 1, plan.width), residual);
        }
        apply(leave, of_block(buffers.state, plan.depth, plan.width), buffers.out, {});
        if (!plan.is_classes)
            return squared_error(buffers.out, plan.outputs, columns, static_cast<const float*>(data.targets), batch);
        const CrossEntropy loss{static_cast<const int64_t*>(data.targets), plan.class_weights, plan.outputs,
                                float(plan.smoothing)};
        return loss(buffers.out, columns, batch);
    }

    void normalise(int block, const float* state, float* scaled) {
        const int width = plan.width;
        float* normed = of_block(buffers.normed, block, width);
        const float *scale = blocks[block].scale.weight, *shift = blocks[block].shift.weight;
        for (int column = 0; column < columns; column += kLanes) {
            Vector sum{}, squares{};
            for (int row = 0; row < width; ++row) sum += load(state + ptrdiff_t(row) * columns + column);
            const Vector mean = sum * (1.0f / float(width));
            for (int row = 0; row < width; ++row) {
                const Vector difference = load(state + ptrdiff_t(row) * columns + column) - mean;
                squares += difference * difference;
            }
            const Vector deviation = 1.0f / square_root(squares * (1.0f / float(width)) + kNormEpsilon);
            store(buffers.deviation + ptrdiff_t(block) * columns + column, deviation);
            for (int row = 0; row < width; ++row) {
                const ptrdiff_t place = ptrdiff_t(row) * columns + column;
                const Vector value = (load(state + place) - mean) * deviation;
                store(normed + place, value);
                store(scaled + place, value * scale[row] + shift[row]);
            }
        }
    }

    void backward(const Adam& adam) {
        float *gradient = buffers.state_gradient, *of_hidden = buffers.hidden_gradient;
        pass_back(leave, buffers.out, gradient, {});
        train(adam, leave, of_block(buffers.state, plan.depth, plan.width), buffers.out);
        for (int block = plan.depth - 1; block >= 0; --block) {
            const Block& here = blocks[block];
            const float* active = of_block(buffers.active, block, plan.hidden);
            Around gate;
            gate.gate = active;
            pass_back(here.outer, gradient, of_hidden, gate);
            train(adam, here.outer, active, gradient);
            pass_back(here.inner, of_hidden, buffers.scaled_gradient, {});
            train(adam, here.inner, of_block(buffers.scaled, block, plan.width), of_hidden);
            normalise_back(adam, block, gradient);
        }
        train(adam, enter, buffers.inputs, gradient);
    }

    // The gradient of a layer's inputs.
    void pass_back(const Linear& layer, const float* gradient, float* to, const Around& around) {
        product<false>(layer.weight.weight, layer.outputs, gradient, to, layer.inputs, columns, layer.outputs, around);
    }

    // Updates a layer; `from` are its inputs, `gradient` that of its outputs.
    void train(const Adam& adam, const Linear& layer, const float* from, const float* gradient) {
        const int outputs = layer.outputs, pitch = whole(outputs), vectors = pitch / kLanes;
        float *by_sample = buffers.by_sample, *rows = buffers.gradient;
        transposed(gradient, outputs, columns, by_sample);
        in_blocks(layer.inputs, rows_of_tile(vectors), [&](int first, int taken) {
            few_rows<false>(taken, from + ptrdiff_t(first) * columns, columns, by_sample, pitch, rows, outputs, vectors,
                            count, {});
            layer.weight.step(adam, rows, first * outputs, taken * outputs);
        });
        for (int output = 0; output < pitch; output += kLanes) {
            Vector sum{};
            for (int sample = 0; sample < count; ++sample) sum += load(by_sample + ptrdiff_t(sample) * pitch + output);
            store(rows + output, sum);
        }
        layer.bias.step(adam, rows, 0, outputs);
    }

    // Adds to `gradient` what reaches the state through the normalisation, and updates its scale and shift.
    void normalise_back(const Adam& adam, int block, float* gradient) {
        const int width = plan.width;
        const float *normed = of_block(buffers.normed, block, width), *given = buffers.scaled_gradient;
        const float* scale = blocks[block].scale.weight;
        for (int column = 0; column < columns; column += kLanes) {
            Vector sum{}, product{};
            for (int row = 0; row < width; ++row) {
                const ptrdiff_t place = ptrdiff_t(row) * columns + column;
                const Vector value = load(given + place) * scale[row];
                sum += value;
                product += value * load(normed + place);
            }
            const Vector mean = sum * (1.0f / float(width)), along = product * (1.0f / float(width));
            const Vector deviation = load(buffers.deviation + ptrdiff_t(block) * columns + column);
            for (int row = 0; row < width; ++row) {
                const ptrdiff_t place = ptrdiff_t(row) * columns + column;
                const Vector value = load(given + place) * scale[row];
                store(gradient + place,
                      load(gradient + place) + deviation * (value - mean - load(normed + place) * along));
            }
        }
        float *of_scale = buffers.gradient, *of_shift = buffers.gradient + whole(width);
        for (int first = 0; first < width; first += kLanes) {
            Vector scales[kLanes], shifts[kLanes];
            for (int lane = 0; lane < kLanes; ++lane) {
                Vector product{}, sum{};
                for (int column = 0; first + lane < width && column < columns; column += kLanes) {
                    const ptrdiff_t place = ptrdiff_t(first + lane) * columns + column;
                    const Vector value = load(given + place);
                    sum += value;
                    product += value * load(normed + place);
                }
                scales[lane] = product;
                shifts[lane] = sum;
            }
            store(of_scale + first, sums_of(scales));
            store(of_shift + first, sums_of(shifts));
        }
        blocks[block].scale.step(adam, of_scale, 0, width);
        blocks[block].shift.step(adam, of_shift, 0, width);
    }
};

}  // namespace

extern "C" {

// Numbers of `Steps.scratch`; -1 for a planner that is too deep.
int64_t scratch_size(const Plan* plan) {
    if (plan->depth > Model::kMostBlocks) return -1;
    return Buffers(*plan, nullptr).taken;
}

void train_planners(const Plan* plan, const Steps* steps) {
    const Flushing flushing;
    for (int model = steps->first_model; model < steps->first_model + steps->models; ++model) {
        Model trained(*plan, *steps, model);
        int64_t sample = steps->first_sample;
        double losses = 0.0;
        for (int step = 0; step < steps->steps; ++step) {
            const int64_t left = steps->samples - sample;
            const Batch batch{steps->orders + steps->samples * model + sample,
                              int(left < plan->batch ? left : plan->batch)};
            const Adam adam(steps->rates[steps->rates_pitch * step + model], steps->decays[model], plan->beta1,
                            plan->beta2, plan->epsilon, plan->is_decoupled != 0, double(steps->before + step + 1));
            // In float, as eager steps add it up.
            losses += double(float(trained.step(batch, adam))) * batch.count;
            sample += batch.count;
        }
        steps->losses[model] += losses;
    }
}
}
