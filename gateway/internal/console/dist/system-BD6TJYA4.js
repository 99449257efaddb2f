import{J as m,S as a,T as i,Y as p,j as r,l as e}from"./chunk-G7W7VYRD.js";function n(){let{data:o,error:t,reload:s}=p(d=>e("GET","api/v1/system",{signal:d}).then(f=>f.data));return r`<${m}>System<//>
    <${a} error=${t} retry=${s} />
    ${!o&&!t&&r`<${i} />`}
    ${o&&r`<p>Version ${o.version}</p>`}`}export{n as default};
