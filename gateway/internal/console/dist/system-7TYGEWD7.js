import{C as a,D as i,I as p,g as r,i as e,v as m}from"./chunk-CJISUO2J.js";function n(){let{data:o,error:t,reload:s}=p(d=>e("GET","api/v1/system",{signal:d}).then(f=>f.data));return r`<${m}>System<//>
    <${a} error=${t} retry=${s} />
    ${!o&&!t&&r`<${i} />`}
    ${o&&r`<p>Version ${o.version}</p>`}`}export{n as default};
