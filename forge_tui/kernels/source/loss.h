// Losses of a batch and their gradients, in place of the outputs: (outputs, columns), a sample per column. Columns beyond
// the batch get gradients of 0.
#pragma once

#include "vectors.h"

// The batch: `count` samples, of these rows of the data.
struct Batch {
    const int64_t* rows;
    int count;
};

// Mean squared error. `targets` has a row of `outputs` numbers for each row of the data.
static double squared_error(float* out, int outputs, int columns, const float* targets, const Batch& batch) {
    const float factor = float(2.0 / (double(batch.count) * outputs));
    double sum = 0.0;
    for (int output = 0; output < outputs; ++output) {
        float* row = out + ptrdiff_t(output) * columns;
        for (int column = 0; column < batch.count; ++column) {
            const float difference = row[column] - targets[batch.rows[column] * outputs + output];
            sum += double(difference) * difference;
            row[column] = difference * factor;
        }
        for (int column = batch.count; column < columns; ++column) row[column] = 0.0f;
    }
    return sum / (double(batch.count) * outputs);
}

// Cross entropy with label smoothing s and class weights w (null: equal), as torch's `cross_entropy`: with
// q = (1 - s) w[y] [c = y] + s w[c] / classes, of the sum Q over the classes, the loss of a sample is -sum q log p and
// its gradient p Q - q; both are divided by the batch's sum of w[y].
struct CrossEntropy {
    const int64_t* targets;
    const float* weights;
    int classes;
    float smoothing;

    double operator()(float* out, int columns, const Batch& batch) const {
        double weight_of_batch = 0.0;
        for (int column = 0; column < batch.count; ++column) weight_of_batch += weight(label(batch, column));
        const float factor = float(1.0 / weight_of_batch);
        double sum = 0.0;
        for (int first = 0; first < columns; first += kLanes) sum += block(out + first, columns, batch, first, factor);
        return sum / weight_of_batch;
    }

   private:
    int64_t label(const Batch& batch, int column) const { return targets[batch.rows[column]]; }
    float weight(int64_t label) const { return weights ? weights[label] : 1.0f; }

    // kLanes samples from `first` on; the sum of their losses.
    double block(float* out, int columns, const Batch& batch, int first, float factor) const {
        const int count = batch.count - first < kLanes ? batch.count - first : kLanes;
        const float spread = smoothing / float(classes);
        Vector most = load(out);
        for (int c = 1; c < classes; ++c) most = maximum(most, load(out + ptrdiff_t(c) * columns));
        alignas(sizeof(Vector)) float mosts[kLanes], totals[kLanes], smooths[kLanes], below[kLanes], shares[kLanes] = {};
        store(mosts, most);
        for (int lane = 0; lane < count; ++lane)
            below[lane] = out[label(batch, first + lane) * columns + lane] - mosts[lane];
        Vector total{}, smooth{};
        float all_weights = 0.0f;
        for (int c = 0; c < classes; ++c) {
            float* place = out + ptrdiff_t(c) * columns;
            const Vector logit = load(place) - most, power = exponential(logit);
            total += power;
            smooth += logit * weight(c);
            all_weights += weight(c);
            store(place, power);
        }
        store(totals, total);
        store(smooths, smooth);
        double sum = 0.0;
        for (int lane = 0; lane < count; ++lane) {
            const float own = weight(label(batch, first + lane)) * (1.0f - smoothing);
            const float whole_goal = own + spread * all_weights;
            sum += double(whole_goal) * std::log(totals[lane]) - double(own) * below[lane];
            if (smoothing > 0.0f) sum -= double(spread) * smooths[lane];
            shares[lane] = whole_goal * factor / totals[lane];
        }
        const Vector share = load(shares);
        for (int c = 0; c < classes; ++c) {
            float* place = out + ptrdiff_t(c) * columns;
            store(place, load(place) * share);
            if (smoothing > 0.0f)
                for (int lane = 0; lane < count; ++lane) place[lane] -= weight(c) * spread * factor;
        }
        for (int lane = 0; lane < count; ++lane) {
            const int64_t own = label(batch, first + lane);
            out[own * columns + lane] -= weight(own) * (1.0f - smoothing) * factor;
        }
        return sum;
    }
};
