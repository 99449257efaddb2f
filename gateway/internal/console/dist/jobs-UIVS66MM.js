import{F as m,M as s,W as l,ba as h,da as $,ea as b,fa as n,ga as f,ka as p,o as e,pa as o,r as i}from"./chunk-CTGOGAEL.js";function u({query:g}){let a=g.get("status"),{data:r,error:d,reload:c}=p(t=>i("GET","api/v1/batch",{query:{status:a,view:"summary",limit:50},signal:t}).then(y=>y.data),[a]);return e`<${l}>Jobs<//>
    <${b} error=${d} retry=${c} />
    ${!r&&!d&&e`<${n} />`}
    ${r?.jobs.length===0&&e`<${$} title="No jobs yet."><a href=${o("new")}>Send images</a><//>`}
    ${r?.jobs.length>0&&e`<div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table>
      <thead><tr><th>Job</th><th>State</th><th>Images</th><th>Created</th></tr></thead>
      <tbody>${r.jobs.map(t=>e`<tr key=${t.job_id}>
        <td><a class="mono" href=${o("job",{id:t.job_id})}>${s(t.job_id)}</a></td>
        <td><${h} job=${t} /></td><td>${m(t.total_images,"image")}</td><td><${f} value=${t.created_at} /></td></tr>`)}</tbody>
    </table></div>`}`}export{u as default};
