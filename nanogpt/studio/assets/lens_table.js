// What each layer would predict: the stronger the colour, the likelier.
export default {
  template: `
    <div class="wide" tabindex="0" role="region" aria-label="The logit lens, a table">
      <table class="lens">
        <thead><tr>
          <th scope="col">After</th><th scope="col" colspan="5">its likeliest tokens</th>
          <th scope="col">it finds {{ final }}</th>
        </tr></thead>
        <tbody><tr v-for="[name, choices, rank] in rows" :key="name">
          <th scope="row">{{ name }}</th>
          <td v-for="([text, share, p], i) in choices" :key="i" :class="{ final: text === final }"
            :style="{ '--share': p }"><span class="name">{{ text }}</span> <small>{{ share }}</small></td>
          <td class="rank">{{ rank }}</td>
        </tr></tbody>
      </table>
    </div>`,
  props: { rows: Array, final: String },
};
